#include "io/pose.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "kernels/core/host_math.h"

namespace dr {

Matrix3 matrix_of(const Pose& p) {
  const auto [w, x, y, z] = p.turn;
  return {1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
          2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
          2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)};
}

Pose pose_of(const Matrix3& m, const Vec3& at) {
  // From the largest of the four components, so that no small number divides.
  const double trace = m[0] + m[4] + m[8];
  std::array<double, 4> q{};
  if (trace > std::max({m[0], m[4], m[8]})) {
    q = {1 + trace, m[7] - m[5], m[2] - m[6], m[3] - m[1]};
  } else if (m[0] >= m[4] && m[0] >= m[8]) {
    q = {m[7] - m[5], 1 + m[0] - m[4] - m[8], m[1] + m[3], m[2] + m[6]};
  } else if (m[4] >= m[8]) {
    q = {m[2] - m[6], m[1] + m[3], 1 - m[0] + m[4] - m[8], m[5] + m[7]};
  } else {
    q = {m[3] - m[1], m[2] + m[6], m[5] + m[7], 1 - m[0] - m[4] + m[8]};
  }
  double norm = 0;
  for (double v : q) norm += v * v;
  norm = std::sqrt(norm) * (q[0] < 0 ? -1 : 1);
  for (double& v : q) v /= norm;
  return {at, q};
}

Vec3 transform(const Pose& pose, const Vec3& p) {
  const Matrix3 m = matrix_of(pose);
  Vec3 out = pose.at;
  for (size_t i = 0; i < 3; i++) out[i] += m[3 * i] * p[0] + m[3 * i + 1] * p[1] + m[3 * i + 2] * p[2];
  return out;
}

Pose inverse(const Pose& a) {
  Pose r{{}, {a.turn[0], -a.turn[1], -a.turn[2], -a.turn[3]}};
  r.at = transform(r, {-a.at[0], -a.at[1], -a.at[2]});
  return r;
}

Pose operator*(const Pose& a, const Pose& b) {
  const auto [aw, ax, ay, az] = a.turn;
  const auto [bw, bx, by, bz] = b.turn;
  return {transform(a, b.at),
          {aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
           aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw}};
}

Vec3 euler_of(const Pose& pose) {
  const Matrix3 m = matrix_of(pose);
  const double level = std::sqrt(m[0] * m[0] + m[3] * m[3]);
  return {canonical::atan2(m[7], m[8]), canonical::atan2(-m[6], level), canonical::atan2(m[3], m[0])};
}

Pose pose_of_euler(const Vec3& at, const Vec3& e) {
  Pose p{at, {1, 0, 0, 0}};
  for (const size_t axis : {2u, 1u, 0u}) {
    const float half = float(0.5 * e[axis]);
    Pose turn;
    turn.turn = {double(canonical::cos(half)), 0, 0, 0};
    turn.turn[axis + 1] = double(canonical::sin(half));
    p = p * turn;
  }
  return checked_poses({p}, "pose")[0];
}

std::vector<Pose> checked_poses(std::vector<Pose> poses, const std::string& where) {
  CHECK(!poses.empty(), "{}: no poses; at least one is needed", where);
  for (size_t i = 0; i < poses.size(); i++) {
    Pose& p = poses[i];
    double norm = 0;
    bool finite = true;
    for (double v : p.turn) norm += v * v, finite &= std::isfinite(v);
    for (double v : p.at) finite &= std::isfinite(v);
    CHECK(finite, "{}: pose {} holds a NaN or an infinity: position ({}, {}, {}), quaternion ({}, {}, {}, {})", where, i,
          p.at[0], p.at[1], p.at[2], p.turn[0], p.turn[1], p.turn[2], p.turn[3]);
    norm = std::sqrt(norm);
    CHECK(std::fabs(norm - 1) < 1e-3, "{}: the quaternion of pose {} has length {}; 1 is expected", where, i, norm);
    const double scale = p.turn[0] < 0 ? -norm : norm;
    if (std::fabs(scale - 1) > 1e-15)  // leaves what is unit already as it is
      for (double& v : p.turn) v /= scale;
  }
  return poses;
}

std::vector<Pose> from_first(std::vector<Pose> poses) {
  if (poses.empty()) return poses;
  const Pose origin = inverse(poses[0]);
  for (Pose& p : poses) p = origin * p;
  poses[0] = {};
  return poses;
}

std::vector<Motion> motion_of(std::span<const Pose> poses, std::span<const double> times_s) {
  CHECK(poses.size() == times_s.size(), "{} poses and {} times: one each is expected", poses.size(), times_s.size());
  const size_t n = poses.size();
  std::vector<Motion> out(n);
  if (n < 2) return out;
  std::vector<double> speed(n - 1);
  for (size_t i = 0; i + 1 < n; i++) {
    const Pose step = relative(poses[i], poses[i + 1]);
    const double distance = std::sqrt(step.at[0] * step.at[0] + step.at[1] * step.at[1] + step.at[2] * step.at[2]);
    speed[i] = distance / (times_s[i + 1] - times_s[i]);
    out[i].curvature = distance < 0.1 ? 0.0 : euler_of(step)[2] / distance;
  }
  for (size_t i = 0; i + 2 < n; i++)
    out[i].acceleration_mps2 = (speed[i + 1] - speed[i]) / (0.5 * (times_s[i + 2] - times_s[i]));
  out[n - 1] = out[n - 2];
  if (n > 2) out[n - 2].acceleration_mps2 = out[n - 1].acceleration_mps2 = out[n - 3].acceleration_mps2;
  return out;
}

}  // namespace dr
