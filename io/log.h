#pragma once
// A driving log in memory, whichever format it came from: camera frames, and the vehicle's poses and actions beside them.
// Readers convert to the program's conventions: device axes x forward, y right, z down, SI units and radians, curvature
// positive to the right; the world frame is the log's own.

#include <memory>
#include <optional>

#include "io/array.h"
#include "io/pose.h"
#include "io/safetensors.h"

namespace dr {

// Memory of the host with whoever keeps it alive: a mapped file or a buffer.
struct HostArray {
  View view;
  std::shared_ptr<const void> owner;

  bool present() const { return view.present(); }
  explicit operator bool() const { return present(); }
  template <class T>
  const T* data() const { return view.as<T>(); }

  template <class T>
  static HostArray from(std::vector<T> values, const Sizes& sizes) {
    CHECK(int64_t(values.size()) == sizes.count(), "{} values do not fill {}", values.size(), to_string(sizes));
    auto buffer = std::make_shared<std::vector<T>>(std::move(values));
    return {View(buffer->data(), dtype_of<T>, sizes), buffer};
  }
  static HostArray of(const StoredArray& a) { return {a.view(), a.file}; }
};

struct CameraModel {
  int width = 0, height = 0;
  double fx = 0, fy = 0, cx = 0, cy = 0;  // pixels; pixel centres at integers
  Pose mount;                             // device from camera housing: x forward, y right, z down as the device
  double height_m = 0;                    // of the camera above a level road; 0: not known
};

struct DrivingLog {
  std::string kind;                     // "built-in", "comma2k19", "kitti", ...
  std::string where;                    // file or folder, for messages
  CameraModel camera;
  std::vector<double> frame_times_s;    // (T) increasing
  HostArray frames;                     // (T,H,W,3) u8 RGB; absent where the log has no images
  HostArray depth;                      // (T,H,W) f32 metres along the optical axis, 0: none; may be absent
  HostArray labels;                     // (T,H,W) u8; may be absent
  HostArray right_frames;               // (R,H,W,3) u8: of a second camera, of the first R frames; may be absent
  Vec3 right_from_left{};               // metres, camera axes (x right, y down, z forward): X_right = X_left + this
  std::vector<double> times_s;          // (P) increasing
  std::vector<Pose> poses;              // (P)
  std::vector<std::array<float, 2>> actions;  // (P) curvature in 1/m, acceleration in m/s^2: from this pose to the next
  HostArray desire;                     // (P) u8: 0 keep, 1 change left, 2 change right: a pulse; may be absent
  HostArray lane_offset;                // (P) f32 metres right of the lane's centre; may be absent
  Metadata notes;                       // whatever else the writer wanted to say

  int64_t frame_count() const { return int64_t(frame_times_s.size()); }
  // Throws, naming `where`, unless sizes agree, times increase and poses are poses.
  void check() const;
  // The pose at a time, between the poses around it: positions linearly, quaternions by normalised interpolation. Before
  // the first and after the last, theirs.
  Pose pose_at(double time_s) const;
};

// The log at a path, its kind told by what is there: a segment file, or a folder in KITTI's or comma2k19's layout. What
// only one kind of log has is left out. Throws, naming what is accepted, where it is none of them.
DrivingLog open_log(const std::string& path);

// `values[i]` at `times_s[i]`, linearly between them, at each of `wanted_s`; the ends' beyond the ends.
std::vector<double> interpolate(std::span<const double> times_s, std::span<const double> values, std::span<const double> wanted_s);
// Throws unless finite and strictly increasing.
void check_times(std::span<const double> times_s, const std::string& where);

}  // namespace dr
