#pragma once
// Poses in space: where a device is and how it is turned, in a world frame. Axes of a device: x forward, y right, z down.
// Everything is IEEE double arithmetic and canonical functions, so a pose read on two machines has the same bits.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dr {

using Vec3 = std::array<double, 3>;
using Matrix3 = std::array<double, 9>;  // row by row

struct Pose {
  Vec3 at{};                                 // metres
  std::array<double, 4> turn{1, 0, 0, 0};    // unit quaternion w, x, y, z (Hamilton): world from device

  bool operator==(const Pose&) const = default;
};

Matrix3 matrix_of(const Pose& pose);         // world from device
Pose pose_of(const Matrix3& rotation, const Vec3& at);
Pose inverse(const Pose& a);
Pose operator*(const Pose& a, const Pose& b);  // b's device frame seen from a's world
inline Pose relative(const Pose& from, const Pose& to) { return inverse(from) * to; }
Vec3 transform(const Pose& pose, const Vec3& point);

// Roll, pitch, yaw in radians, (-pi, pi] and pitch within a quarter turn: R = Rz(yaw) Ry(pitch) Rx(roll). With z down, yaw
// is positive to the right and pitch is positive upwards. Error below 1e-14 rad away from a vertical device.
Vec3 euler_of(const Pose& pose);
Pose pose_of_euler(const Vec3& at, const Vec3& roll_pitch_yaw);  // sines rounded to f32: 6e-8 rad

// Throws, naming `where` and the row, unless there is at least one pose and every one is finite with a quaternion within
// 1e-3 of unit length. Returns them with unit quaternions, w >= 0.
std::vector<Pose> checked_poses(std::vector<Pose> poses, const std::string& where);
// The same motion seen from the first pose: the world becomes its device frame.
std::vector<Pose> from_first(std::vector<Pose> poses);

// What the vehicle did between poses `dt` apart: curvature in 1/m, positive to the right (0 below 0.1 m), and
// acceleration along the path in m/s^2; (n) of both, the last repeated.
struct Motion {
  double curvature = 0, acceleration_mps2 = 0;
};
std::vector<Motion> motion_of(std::span<const Pose> poses, std::span<const double> times_s);

}  // namespace dr
