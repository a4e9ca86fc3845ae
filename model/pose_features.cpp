#include "model/pose_features.h"

#include <cstddef>

#include "kernels/core/host_math.h"

namespace dr {

std::array<float, kPoseFeatures> pose_features(const FramePose& pose) {
  std::array<float, kPoseFeatures> out;
  float* to = out.data();
  const auto add = [&](double value, double unit, double scale, int low, int frequencies) {
    *to++ = float(value / unit * scale);
    double angle = value / unit;
    for (int i = 0; i < -low; i++) angle /= 2;
    for (int i = 0; i < frequencies; i++, angle *= 2) {
      *to++ = canonical::sin(float(angle));
      *to++ = canonical::cos(float(angle));
    }
  };
  constexpr std::array<double, 6> unit = {1, 0.1, 0.1, 0.02, 0.02, 0.02};
  for (std::size_t i = 0; i < 6; i++) add(pose.motion[i], unit[i], 0.5, -1, kMotionFrequencies);
  for (std::size_t i = 0; i < 6; i++) add(pose.place[i], i < 3 ? 1 : 0.1, 0.1, -5, kPlaceFrequencies);
  return out;
}

std::array<float, kTauFeatures> tau_features(float tau) {
  constexpr int half = int(kTauFeatures / 2);
  std::array<float, kTauFeatures> out;
  for (int i = 0; i < half; i++) {
    const float omega = canonical::exp(-float(i) / float(half) * 9.21034037f);  // ln 10000
    const float angle = 1000 * tau * omega;
    out[std::size_t(i)] = canonical::cos(angle);
    out[std::size_t(half + i)] = canonical::sin(angle);
  }
  return out;
}

}  // namespace dr
