#pragma once
// What the pose network learns from: drives of the built-in world, seen from the vehicle moved sideways and turned,
// with labels that are known because the world is.

#include "model/pose_network.h"
#include "sim/drive.h"

namespace dr {

// How far from where it drove the vehicle is put. Offset and heading run from one random knot to the next, 5 to 15
// frames on, with a small unrelated part in each frame, so that every motion between frames occurs.
struct Displacement {
  double shift_m = 1.2, turn_rad = 0.05;  // knots are uniform within plus and minus these
};
std::vector<sim::VehicleState> displaced_track(const sim::Drive& drive, const Displacement& displacement);
// Every frame moved to the right by the same distance.
std::vector<sim::VehicleState> moved_track(const sim::Drive& drive, double right_m);

// Successive frames of a drive with the labels of each.
struct PoseFrames {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;             // (T,H,W,3)
  std::vector<sim::Motion> motion;      // (T) since the previous frame; of the first: none
  std::vector<sim::LanePlace> place;    // (T)

  int64_t count() const { return int64_t(place.size()); }
  size_t frame_bytes() const { return size_t(width * height * 3); }
  const uint8_t* frame(int64_t i) const { return rgb.data() + size_t(i) * frame_bytes(); }
};
// One state for each frame of the drive.
PoseFrames render_pose_frames(Runtime& runtime, const sim::Drive& drive, const std::vector<sim::VehicleState>& track);

// A label in the network's terms: less mean, over scale; and its weight, 0 where it is not defined.
struct PoseLabel {
  std::array<float, kPoseOutputs.size()> value, weight;
};
PoseLabel pose_label(const sim::Motion& motion, const sim::LanePlace& place);

// What generated frames look like is not what rendered ones do. A pair's contrast, brightness and colours change; half
// of the pairs also get noise, then up to three passes of a [1 2 1] blur, then finer noise.
//   in  previous and current frame (H,W,3) u8      out  (H,W,6) f32 in [-1,1] before the changes, which may leave it
// A pure function of the frames and the stream; `degrade` off: conversion alone.
void pose_pair(const uint8_t* previous, const uint8_t* current, int64_t height, int64_t width,
               const RandomStream& stream, bool degrade, float* out);

}  // namespace dr
