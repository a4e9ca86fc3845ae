#include "sim/reprojection/reprojection.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/host_math.h"
#include "kernels/depth_warp/depth_warp.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/inverse_warp/inverse_warp.h"
#include "kernels/mul/mul.h"
#include "kernels/push_pull/push_pull.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize2d/resize2d.h"
#include "kernels/smooth_l1/smooth_l1.h"
#include "runtime/tape.h"

namespace dr::sim {

namespace {

constexpr float kFarM = 1e4f;
// Points of a surface that are splatted for each pixel along either axis, so that it has no cracks where it comes up to
// that many times closer.
constexpr int kPoints = 4;

}  // namespace

Tensor without_gaps(Runtime& runtime, const Tensor& depth, bool gaps_are_sky) {
  std::vector<float> v = depth.to_vector<float>();
  std::vector<uint8_t> known(v.size());
  for (size_t i = 0; i < v.size(); i++) known[i] = v[i] > 0 && std::isfinite(v[i]);
  if (gaps_are_sky) {
    for (size_t i = 0; i < v.size(); i++)
      if (!known[i]) v[i] = kFarM;
    return runtime.from(v, depth.sizes());
  }
  // No op divides by what it is given; these two loops do, with IEEE's one rounding.
  for (size_t i = 0; i < v.size(); i++) v[i] = known[i] ? 1 / v[i] : 0;
  const Tensor inverse = runtime.from(v, depth.sizes()).reshape({depth.size(0), depth.size(1), depth.size(2), 1});
  v = evaluate(runtime, PushPull{}, inverse, runtime.from(known, depth.sizes())).to_vector<float>();
  for (float& d : v) d = d > 1 / kFarM ? 1 / d : kFarM;
  return runtime.from(v, depth.sizes());
}

std::array<float, 12> rigid_rows(const Pose& motion) {
  const Matrix3 r = matrix_of(motion);
  constexpr size_t housing[] = {1, 2, 0};  // which of its axes are the camera's x, y, z
  std::array<float, 12> m;
  float* to = m.data();
  for (size_t i : housing) {
    for (size_t j : housing) *to++ = float(r[3 * i + j]);
    *to++ = float(motion.at[i]);
  }
  return m;
}

Reprojector::Reprojector(Runtime& runtime, const CameraModel& camera) : runtime_(runtime), camera_(camera) {
  CHECK(std::min(camera.width, camera.height) >= 1 && std::max(camera.width, camera.height) <= kMaxDepthSide,
        "images of {} x {} pixels cannot be reprojected; accepted: sides of 1 to {}", camera.width, camera.height,
        kMaxDepthSide);
}

// Of the same view on `scale` times as many pixels, whose edges stay where they are.
Tensor Reprojector::intrinsics(int scale) const {
  auto centre = [&](double v) { return float((v + 0.5) * scale - 0.5); };
  const std::vector<float> k{float(camera_.fx * scale), float(camera_.fy * scale), centre(camera_.cx),
                             centre(camera_.cy)};
  return runtime_.from(k, {1, 4});
}

Tensor Reprojector::rigid(const Pose& motion) const {
  const std::array<float, 12> rows = rigid_rows(motion);
  return runtime_.from(std::vector<float>(rows.begin(), rows.end()), {1, 3, 4});
}

Reprojector::Warp Reprojector::sampled(const Tensor& other, const Tensor& depth, const Pose& motion) const {
  const Tensor camera = intrinsics();
  const auto [image, mask] =
      evaluate_all(runtime_, InverseWarp{}, other, depth, camera, camera, rigid(inverse(motion)));
  return {image, mask};
}

Reprojector::Warp Reprojector::splatted(const Tensor& image, const Tensor& depth, const Pose& motion) const {
  const Tensor camera = intrinsics();
  const auto [y, mask, z, source] =
      evaluate_all(runtime_, DepthWarp{}, image, depth, camera, camera, rigid(inverse(motion)));
  return {y, mask};
}

Reprojector::Picture Reprojector::pictured(const Tensor& image, const Tensor& depth, const Pose& motion) const {
  const int64_t h = camera_.height, w = camera_.width,
                points = std::min<int64_t>(kPoints, kMaxDepthSide / std::max(h, w));
  const Tensor camera = intrinsics();
  // By the nearest pixel: between a surface and the one behind it there is none.
  const Tensor fine = evaluate(runtime_, Resize2d{h * points, w * points}, depth.reshape({1, h, w, 1}));
  const auto [y, mask, z, source] =
      evaluate_all(runtime_, DepthWarp{h, w}, fine, fine.reshape({1, h * points, w * points}), intrinsics(int(points)),
                   camera, rigid(inverse(motion)));
  const Tensor seen = evaluate(runtime_, InverseWarp{Padding::border}, image, z, camera, camera, rigid(motion));
  return {{seen, mask}, evaluate(runtime_, PushPull{}, seen, mask)};
}

Difference difference(Runtime& runtime, const Tensor& a, const Tensor& b, const Tensor& mask) {
  const int64_t n = mask.count();
  const Tensor x = a.reshape({n, 3}), y = b.reshape({n, 3}), weight = mask.reshape({n});
  auto sum = [&](const Tensor& of_pixels) { return double(evaluate(runtime, Reduce{}, of_pixels).floats()[0]); };
  const double scale = 127.5, values = 3 * sum(weight);
  return {scale * sum(evaluate(runtime, Mul{}, evaluate(runtime, SmoothL1{0}, x, y, Tensor()), weight)) / values,
          scale * scale * sum(evaluate(runtime, FlowLoss{}, x, y, weight)) / values};
}

double coverage(Runtime& runtime, const Tensor& mask) {
  return double(evaluate(runtime, Reduce{ReduceKind::mean, 0, mask.rank()}, mask).floats()[0]);
}

double psnr_db(double mean_square) {
  return 10 / 2.302585092994046 * double(canonical::log(float(255. * 255 / mean_square)));
}

}  // namespace dr::sim
