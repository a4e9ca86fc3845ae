#pragma once
// A frame's motion and place as numbers that a linear layer can use: each beside sines and cosines of it.

#include <array>
#include <cstdint>

namespace dr {

// Metres and radians, axes x forward, y right, z down; angles are roll, pitch, yaw.
struct FramePose {
  std::array<double, 6> motion{};  // this frame seen from the one before: translation, angles
  std::array<double, 6> place{};   // this frame seen from the first of the sequence
};

inline constexpr int kMotionFrequencies = 4, kPlaceFrequencies = 8;
inline constexpr int64_t kPoseFeatures = 6 * (1 + 2 * kMotionFrequencies) + 6 * (1 + 2 * kPlaceFrequencies);

// Per number v in its unit (motion: 1, 0.1 and 0.1 m, 0.02 rad; place: 1 m, 0.1 rad): v, scaled to about 1, then
// sin(v 2^i), cos(v 2^i), i = -1..2 for motion and -5..2 for place. Motion comes first.
std::array<float, kPoseFeatures> pose_features(const FramePose& pose);

inline constexpr int64_t kTauFeatures = 128;
// cos(1000 tau w_i), then sin, with w_i = 10000^(-i/64), i = 0..63. Source: Peebles & Xie 2023, arXiv:2212.09748.
std::array<float, kTauFeatures> tau_features(float tau);

}  // namespace dr
