// The optimiser's ops beyond what the op tests see: AdamW in place, skipped steps, the bias corrections; gradient
// clipping where the norm is not finite, and across shards.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/harness/cases.h"

namespace dr {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_values(int64_t count, std::string_view field, double deviation) {
  std::vector<float> v(static_cast<size_t>(count));
  harness::fill(View(v.data(), DType::f32, {count}), normal({count}, 0, deviation), "adamw test", field);
  return v;
}

View flat(std::vector<float>& v) { return View(v.data(), DType::f32, {int64_t(v.size())}); }

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// One tensor's training state and the scalars of a step.
struct State {
  std::vector<float> param, grad, m, v, lr{1e-3f}, correction, scale{0.5f};

  State(const AdamW& op, int64_t count)
      : param(random_values(count, "param", 1)),
        grad(random_values(count, "grad", 0.1)),
        m(random_values(count, "m", 0.05)),
        v(random_values(count, "v", 0.1)) {
    for (float& x : v) x *= x;
    const auto c = op.correction(3);
    correction = {c[0], c[1]};
  }
  AdamW::In in() { return {flat(param), flat(grad), flat(m), flat(v), flat(lr), flat(correction), flat(scale)}; }
  AdamW::Out out() { return {flat(param), flat(m), flat(v)}; }
};

void expect_in_place_equals_out_of_place(int64_t count, float scale) {
  const AdamW op{.weight_decay = 0.1f};
  for (Backend backend : cpu_backends()) {
    ThreadPool pool(2);
    Context ctx;
    ctx.backend = backend;
    ctx.pool = &pool;
    State from(op, count), to(op, 0), in_place(op, count);
    from.scale[0] = in_place.scale[0] = scale;
    const State before = from;
    to.param.assign(size_t(count), kNaN), to.m = to.v = to.param;
    run_forward(ctx, op, from.in(), to.out());
    run_forward(ctx, op, in_place.in(), in_place.out());
    EXPECT_TRUE(same_bits(to.param, in_place.param) && same_bits(to.m, in_place.m) && same_bits(to.v, in_place.v))
        << name_of(backend);
    EXPECT_TRUE(same_bits(from.param, before.param) && same_bits(from.m, before.m) && same_bits(from.v, before.v))
        << name_of(backend);
    EXPECT_EQ(same_bits(to.param, before.param), scale == 0) << name_of(backend);
  }
}

TEST(AdamW, InPlaceEqualsOutOfPlace) { expect_in_place_equals_out_of_place(20011, 0.5f); }

// Large enough for the outputs out of place to be streamed past the caches.
TEST(AdamW, InPlaceEqualsOutOfPlaceWhereOutputsAreStreamed) {
  expect_in_place_equals_out_of_place((int64_t{9} << 20) + 5, 0.5f);
}

TEST(AdamW, ASkippedStepChangesNoBitInPlaceOrOutOfPlace) { expect_in_place_equals_out_of_place(20011, 0.f); }

TEST(AdamW, ASkippedStepIgnoresTheGradient) {
  const AdamW op{.weight_decay = 0.1f};
  State state(op, 100);
  state.scale[0] = 0;
  state.grad.assign(100, kNaN);
  const State before = state;
  Context ctx;
  ctx.backend = cpu_backends()[0];
  run_forward(ctx, op, state.in(), state.out());
  EXPECT_TRUE(same_bits(state.param, before.param) && same_bits(state.m, before.m) && same_bits(state.v, before.v));
}

TEST(AdamW, CorrectionsAreRightToTheLastBit) {
  const AdamW op;
  for (int64_t t : {1, 2, 3, 10, 1000, 123457, 100000000}) {
    const auto c = op.correction(t);
    EXPECT_EQ(c[0], float(1 - std::pow((long double)op.beta1, (long double)t))) << t;
    EXPECT_EQ(c[1], float(1 - std::pow((long double)op.beta2, (long double)t))) << t;
  }
  EXPECT_THROW(op.correction(0), Error);
}

struct Clip {
  float norm, scale;
};
Clip clip(std::vector<float> sums, float max_norm, std::vector<float> factor = {}) {
  std::vector<float> limit{max_norm}, norm(1), scale(1);
  std::vector<std::byte> scratch(sums.size() * sizeof(float) + 64);
  Context ctx;
  ctx.backend = cpu_backends()[0];
  ctx.scratch = scratch;
  const ClipScale op;
  const ClipScale::In in{flat(sums), flat(limit), factor.empty() ? View() : flat(factor)};
  op.infer(in);
  run_forward(ctx, op, in, ClipScale::Out{flat(norm), flat(scale)});
  return {norm[0], scale[0]};
}

TEST(ClipScale, ANormThatIsNotFiniteGivesScaleZero) {
  for (float bad : {kInfinity, kNaN}) {
    const Clip c = clip({1, bad, 2}, 1);
    EXPECT_FALSE(std::isfinite(c.norm));
    EXPECT_EQ(c.scale, 0.f);
  }
  EXPECT_EQ(clip({3e38f, 3e38f}, 1).scale, 0.f);  // the sum overflows
}

TEST(ClipScale, AnInfiniteLimitDoesNotClip) {
  EXPECT_EQ(clip({9, 16}, kInfinity).norm, 5.f);
  EXPECT_EQ(clip({9, 16}, kInfinity).scale, 1.f);
  EXPECT_EQ(clip({9, 16}, kInfinity, {0.25f}).norm, 1.25f);
  EXPECT_EQ(clip({9, 16}, kInfinity, {0.25f}).scale, 0.25f);
}

// Two tensors, one of them cut into shards at a multiple of the block: the same sums, so the same norm.
TEST(GradNorm, ShardsGiveTheSumsOfTheWhole) {
  std::vector<float> a = random_values(3 * GradNorm::kBlock + 100, "a", 1), b = random_values(77, "b", 1);
  auto sums_into = [](std::vector<float>& sums, size_t first, const View& grad) {
    Context ctx;
    ctx.backend = cpu_backends()[0];
    const GradNorm op;
    const TensorSpec spec = op.infer({grad})[0];
    run_forward(ctx, op, GradNorm::In{grad}, GradNorm::Out{View(sums.data() + first, DType::f32, spec.sizes)});
  };
  std::vector<float> whole(5), sharded(5);
  sums_into(whole, 0, flat(a));
  sums_into(whole, 4, flat(b));
  sums_into(sharded, 0, flat(a).slice(0, 0, 2 * GradNorm::kBlock));
  sums_into(sharded, 2, flat(a).slice(0, 2 * GradNorm::kBlock, GradNorm::kBlock + 100));
  sums_into(sharded, 4, flat(b));
  EXPECT_TRUE(same_bits(whole, sharded));
  double sum = 0;
  for (const auto* v : {&a, &b})
    for (float x : *v) sum += double(x) * double(x);
  EXPECT_NEAR(clip(whole, 1).norm, std::sqrt(sum), 1e-5 * std::sqrt(sum));
}

}  // namespace
}  // namespace dr
