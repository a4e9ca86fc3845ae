#pragma once
// A segment in comma2k19's layout: a folder of NumPy arrays without the extension. Poses come in earth-centred
// coordinates, the steering angle positive to the left; here the world is the device's frame at the first pose, and the
// angle is positive to the right.
//
//   global_pose/frame_times (P), frame_positions (P,3) ECEF metres, frame_orientations (P,4) w x y z: ECEF from device
//   (forward, right, down), frame_velocities (P,3) ECEF m/s
//   processed_log/CAN/{speed,steering_angle}/{t,value}: m/s, degrees at the wheel; optional
//   preview.png: one image; optional. The video needs FFmpeg and is not read here.
// Source: Schafer et al. 2018, "A commute in data: the comma2k19 dataset", arXiv:1812.05752, and its repository.

#include "io/image.h"
#include "io/log.h"

namespace dr {

struct Comma2k19Log : DrivingLog {
  std::vector<double> speed_mps, steering_wheel_rad;  // (P) of the CAN bus at the poses' times, positive right; may be empty
  std::vector<Vec3> velocity_mps;                     // (P) in the device's frame: forward, right, down
  std::optional<Image> preview;
};

bool is_comma2k19(const std::string& folder);
Comma2k19Log read_comma2k19(const std::string& folder);

}  // namespace dr
