#pragma once
// The segment format: one minute of driving in one safetensors file, which Python reads with the ordinary package.
//
//   frames       (T,H,W,3) U8   RGB                       frame_times (T) F64   seconds
//   depth        (T,H,W)   F32  metres, 0: none           labels      (T,H,W) U8       both optional
//   times        (P)       F64  seconds                   poses       (P,7)   F64      x, y, z, qw, qx, qy, qz
//   actions      (P,2)     F32  curvature, acceleration   desire      (P) U8, lane_offset (P) F32: optional
//   metadata     format = "dreamroad segment 1", kind, width, height, fx, fy, cx, cy, mount = "x y z qw qx qy qz",
//                camera_height (metres above a level road, 0: not known; may be absent), notes
// Our own segments hold 300 frames (5 Hz) and 1200 poses (20 Hz).

#include "io/log.h"

namespace dr {

inline constexpr std::string_view kSegmentFormat = "dreamroad segment 1";

void write_segment(const std::string& path, const DrivingLog& log);
// Images stay in the mapped file. Everything is checked but the pixels.
DrivingLog read_segment(const std::string& path);
bool is_segment(const SafeTensors& file);

}  // namespace dr
