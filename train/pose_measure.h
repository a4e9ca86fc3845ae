#pragma once
// Measures what frames show with a trained pose network: the ruler for generated rollouts.

#include <memory>
#include <string>

#include "io/loader.h"
#include "model/pose_network.h"
#include "train/fields.h"

namespace dr {

const Fields<PoseNetworkOptions>& pose_network_fields();

// Positive forward and to the right.
struct PoseReading {
  double speed_mps = 0, side_mps = 0, yaw_rate_rad_s = 0;  // since the previous frame, in its axes
  double lane_offset_m = 0, heading_rad = 0;               // right of the nearest lane's centre; relative to the road
};

// One reading per frame of (T,H,W,3) u8 or f32 in [-1,1]. The first frame, which has none before it, gets the motion of
// the second, and its place is read beside itself; the network learns such pairs too.
std::vector<PoseReading> read_poses(Runtime& runtime, const PoseNetwork& network, const Tensor& frames);

// How far right of the reference's lane offset a rollout's is on average over the last `frames` frames of each. A
// difference of more than half a lane is one between neighbouring lanes, and is taken modulo the lane's width.
double lane_deviation_m(std::span<const PoseReading> rollout, std::span<const PoseReading> reference, size_t frames,
                        double lane_width_m = 3.5);

// The network of a checkpoint that `train pose` wrote.
struct PoseMeasure {
  PoseMeasure(Runtime& runtime, const std::string& checkpoint);  // throws where it is none, or damaged

  std::vector<PoseReading> measure(const Tensor& frames) const { return read_poses(runtime, *network, frames); }

  Runtime& runtime;
  Parameters parameters;  // averaged weights
  std::unique_ptr<PoseNetwork> network;
  std::string camera;  // that its frames were seen by: narrow or wide
};

}  // namespace dr
