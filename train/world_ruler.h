#pragma once
// What a pose network sees in the films of rollouts: how they move, and how far aside of one another they are.

#include "train/image_score.h"
#include "train/pose_measure.h"
#include "train/world_sampler.h"

namespace dr {

// Mean absolute differences between what the network reads in films and what the log's poses say, from each film's
// second frame on.
struct MotionErrors {
  double speed_mae_mps = 0, yaw_rate_mae_rad_s = 0;
};
MotionErrors motion_errors(Runtime& runtime, const PoseNetwork& network, const Films& films,
                           const std::vector<RolloutStart>& starts);

// How far right of the films of `reference` those of `moved` are, the mean over films: in every frame, and on average
// over the last `frames` of them.
struct MeasuredDeviation {
  std::vector<double> curve_m;
  double last_m = 0;
};
MeasuredDeviation measured_deviation(Runtime& runtime, const PoseNetwork& network, const Films& moved,
                                     const Films& reference, size_t frames);

// Of a ruler without fault 1: the network's difference over the true one, between drives of the built-in world as
// driven and moved by 0.5 m to the left and to the right. Frames whose nearest lane is a matter of taste are left out.
double slope_on_true_renders(const PoseMeasure& ruler, int64_t drives, double seconds, uint64_t seed);

}  // namespace dr
