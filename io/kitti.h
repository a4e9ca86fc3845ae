#pragma once
// KITTI-style folders: colour frames, LiDAR depth, camera poses and the vehicle's own measurements.
//
//   calib*.txt       "fx 230.6", fy, cx, cy, width, height, one a line; optional "T_cam03_from_cam02 t = x y z (R = I)"
//   image_02/*.png   frames, in the order of their names      image_03/*.png  the right camera's, of the same names; optional
//   poses_cam02.txt  a row-major 3 x 4 matrix a line: camera-at-0 from camera-at-t, metres, x right, y down, z forward
//   depth_02/*.png   16-bit: metres x 256, 0 = none; optional, any subset of the frames
//   ego.csv          optional: unix_time_s, vel_fwd_mps, acc_fwd_mps2 and a yaw rate in degrees/s, positive left, in its
//                    last column. Without it frames are 0.1 s apart and actions come from the poses.
// Source: Geiger, Lenz, Stiller & Urtasun 2013, "Vision meets robotics: the KITTI dataset", IJRR 32.

#include "io/log.h"

namespace dr {

struct KittiLog : DrivingLog {
  std::vector<float> yaw_rate_radps, speed_mps;  // (P) of ego.csv, yaw positive right; empty without it
};

bool is_kitti(const std::string& folder);
KittiLog read_kitti(const std::string& folder);

}  // namespace dr
