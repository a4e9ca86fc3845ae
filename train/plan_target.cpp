#include "train/plan_target.h"

#include <algorithm>

namespace dr {

void plan_target(const DrivingLog& log, double time_s, float* numbers, float* weights) {
  const double first = log.times_s.front(), last = log.times_s.back();
  const Pose here = log.pose_at(time_s);
  const std::vector<float>& scale = plan_scale();
  for (int64_t i = 0; i < kPlanPoints; i++) {
    float *to = numbers + i * kPlanNumbers, *weight = weights + i * kPlanNumbers;
    const double t = time_s + plan_time_s(i);
    const bool known = t <= last;
    std::fill(weight, weight + kPlanNumbers, known ? 1.0f : 0.0f);
    std::fill(to, to + kPlanNumbers, 0.0f);
    if (!known) continue;
    // Three poses h apart, the middle one h or less from t: the differences are those of the parabola through them.
    const double h = std::min(0.25, (last - first) / 2);
    const double middle = std::clamp(t, first + h, last - h);
    const Pose at = relative(here, log.pose_at(t)), before = relative(here, log.pose_at(middle - h)),
               mid = relative(here, log.pose_at(middle)), after = relative(here, log.pose_at(middle + h));
    const Vec3 euler = euler_of(at), turned = euler_of(relative(before, after));
    for (size_t k = 0; k < 3; k++) {
      const double acceleration = h > 0 ? (after.at[k] - 2 * mid.at[k] + before.at[k]) / (h * h) : 0;
      const double velocity = h > 0 ? (after.at[k] - before.at[k]) / (2 * h) + acceleration * (t - middle) : 0;
      to[k] = float(at.at[k]);
      to[3 + k] = float(velocity);
      to[6 + k] = float(acceleration);
      to[9 + k] = float(euler[k]);
      to[12 + k] = float(h > 0 ? turned[k] / (2 * h) : 0);
    }
    for (int64_t k = 0; k < kPlanNumbers; k++) to[k] /= scale[size_t(i * kPlanNumbers + k)];
  }
}

}  // namespace dr
