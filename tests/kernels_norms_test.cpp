// Normalisation and pooling: fused ops equal their parts in turn, bit for bit, with f32 tensors (numerics: fusion); and
// the order of summation of core/channel_groups.h, written out as loops over std::fma, gives the same statistics.

#include <cmath>

#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm_running/batch_norm_running.h"
#include "kernels/core/host_math.h"
#include "kernels/group_norm_silu/group_norm_silu.h"
#include "kernels/linear/linear.h"
#include "kernels/squeeze_excite/squeeze_excite.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

float sigmoid(float x) { return 1.f / (1.f + canonical::exp(-x)); }

class Norms : public KernelTest {
 protected:
  Norms() : KernelTest(1 << 22, 2) {}
};

// Two chunks of pixels, groups that are no multiple of a vector.
constexpr int64_t N = 4, H = 23, Q = 25, C = 84;
constexpr int kGroups = 12;

TEST_P(Norms, GroupNormSiluIsGroupNormThenSilu) {
  Tensor x({N, H, Q, C}, 1, 3, 0.5f), w({C}, 2), b({C}, 3), dy({N, H, Q, C}, 4);
  Tensor y(x.view.sizes), dx(x.view.sizes), dw({2, C}), db({2, C}), mean({N, kGroups}), rstd({N, kGroups});
  const GroupNormSilu fused{.groups = kGroups, .silu = true}, plain{.groups = kGroups, .silu = false};
  const GroupNormSilu::In in{x.view, w.view, b.view};
  const GroupNormSilu::Out out{y.view, mean.view, rstd.view};
  run_forward(ctx_, fused, in, out);
  run_backward(ctx_, fused, in, out, {dy.view}, {dx.view, dw.view, db.view});

  Tensor z(x.view.sizes), y2(x.view.sizes), dz(x.view.sizes), dx2(x.view.sizes), dw2({2, C}), db2({2, C}),
      mean2({N, kGroups}), rstd2({N, kGroups});
  const GroupNormSilu::Out out2{z.view, mean2.view, rstd2.view};
  run_forward(ctx_, plain, in, out2);
  for (size_t i = 0; i < z.data.size(); i++) {
    const float s = sigmoid(z.data[i]);
    y2.data[i] = z.data[i] * s;
    dz.data[i] = dy.data[i] * (s * std::fma(z.data[i], 1.f - s, 1.f));
  }
  run_backward(ctx_, plain, in, out2, {dz.view}, {dx2.view, dw2.view, db2.view});
  expect_same_bits(mean, mean2, "mean");
  expect_same_bits(rstd, rstd2, "rstd");
  expect_same_bits(y, y2, "y");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
}

// The sum of at most 32 terms by the 32 lanes and their butterfly.
float lanes_sum(std::vector<float> v) {
  v.resize(32, 0.f);
  for (size_t half = 16; half > 0; half /= 2)
    for (size_t i = 0; i < half; i++) v[i] += v[i + half];
  return v[0];
}

// Mean and variance of channels [c0, c0 + width) over the pixels [first, first + rows), by the letter.
std::pair<float, float> moments(const Tensor& x, int64_t first, int64_t rows, int64_t c0, int64_t width) {
  auto at = [&](int64_t r, int64_t c) { return x.data[size_t((first + r) * C + c0 + c)]; };
  const float count = float(rows * width);
  std::vector<std::vector<float>> sums(static_cast<size_t>(width)), squares(static_cast<size_t>(width));
  std::vector<float> total, spread;
  for (int64_t c = 0; c < width; c++) {
    for (int64_t k = 0; k < rows; k += 512) {
      const int64_t end = std::min(rows, k + 512);
      float sum = 0, square = 0;
      for (int64_t r = k; r < end; r++) sum += at(r, c);
      for (int64_t r = k; r < end; r++) {
        const float d = at(r, c) - sum / float(end - k);
        square = std::fma(d, d, square);
      }
      sums[size_t(c)].push_back(sum), squares[size_t(c)].push_back(square);
    }
    float sum = sums[size_t(c)][0];
    for (size_t k = 1; k < sums[size_t(c)].size(); k++) sum += sums[size_t(c)][k];
    total.push_back(sum);
  }
  const float mean = lanes_sum(total) / count;
  for (int64_t c = 0; c < width; c++) {
    float sum = 0;
    for (int64_t k = 0; k < rows; k += 512) {
      const float n = float(std::min(rows - k, int64_t{512})), d = sums[size_t(c)][size_t(k / 512)] / n - mean;
      const float term = std::fma(n * d, d, squares[size_t(c)][size_t(k / 512)]);
      sum = k ? sum + term : term;
    }
    spread.push_back(sum);
  }
  return {mean, lanes_sum(spread) / count};
}

TEST_P(Norms, StatisticsFollowTheirDefinition) {
  Tensor x({N, H, Q, C}, 5, 3, 0.5f), w({C}, 2), b({C}, 3), y(x.view.sizes);
  Tensor mean({N, kGroups}), rstd({N, kGroups}), mean2({N, kGroups}), rstd2({N, kGroups});
  run_forward(ctx_, GroupNormSilu{.groups = kGroups}, {x.view, w.view, b.view}, {y.view, mean.view, rstd.view});
  for (int64_t n = 0; n < N; n++)
    for (int64_t g = 0; g < kGroups; g++) {
      const auto [m, variance] = moments(x, n * H * Q, H * Q, g * C / kGroups, C / kGroups);
      mean2.data[size_t(n * kGroups + g)] = m;
      rstd2.data[size_t(n * kGroups + g)] = canonical::rsqrt(variance + 1e-5f);
    }
  expect_same_bits(mean, mean2, "a group's mean");
  expect_same_bits(rstd, rstd2, "a group's rstd");

  Tensor leaf_mean({2, C}), variance({2, C}), leaf_mean2({2, C}), variance2({2, C});
  run_forward(ctx_, BatchNorm{.leaf_samples = 2}, {x.view, w.view, b.view, {}, {}},
              {y.view, leaf_mean.view, variance.view});
  for (int64_t i = 0; i < 2 * C; i++)
    std::tie(leaf_mean2.data[size_t(i)], variance2.data[size_t(i)]) =
        moments(x, i / C * 2 * H * Q, 2 * H * Q, i % C, 1);
  expect_same_bits(leaf_mean, leaf_mean2, "a leaf's mean");
  expect_same_bits(variance, variance2, "a leaf's variance");
}

// With leaves of one sample and groups of one channel they are the same function.
TEST_P(Norms, BatchNormOfOneSampleIsInstanceNorm) {
  ctx_.leaves = N;
  Tensor x({N, H, Q, C}, 1, 3, 0.5f), w({C}, 2), b({C}, 3), dy({N, H, Q, C}, 4);
  Tensor y(x.view.sizes), dx(x.view.sizes), dw({N, C}), db({N, C}), mean({N, C}), variance({N, C});
  Tensor y2(x.view.sizes), dx2(x.view.sizes), dw2({N, C}), db2({N, C}), mean2({N, C}), rstd2({N, C});
  const BatchNorm::In in{x.view, w.view, b.view, {}, {}};
  run_forward(ctx_, BatchNorm{}, in, {y.view, mean.view, variance.view});
  run_backward(ctx_, BatchNorm{}, in, {y.view, mean.view, variance.view}, {dy.view}, {dx.view, dw.view, db.view});
  const GroupNormSilu instance{.groups = int(C), .silu = false};
  run_forward(ctx_, instance, {x.view, w.view, b.view}, {y2.view, mean2.view, rstd2.view});
  run_backward(ctx_, instance, {x.view, w.view, b.view}, {y2.view, mean2.view, rstd2.view}, {dy.view},
               {dx2.view, dw2.view, db2.view});
  expect_same_bits(mean, mean2, "mean");
  expect_same_bits(y, y2, "y");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
}

TEST_P(Norms, RunningStatisticsTakeLeavesInAnyNumberOfCalls) {
  const BatchNormRunning op{.count = 100};
  Tensor leaf_mean({5, C}, 1), leaf_variance({5, C}, 2, 1, 1.5f);
  Tensor at_once[2] = {Tensor({C}, 3), Tensor({C}, 4, 1, 2)}, in_turn[2] = {Tensor({C}, 3), Tensor({C}, 4, 1, 2)};
  auto step = [&](Tensor (&state)[2], int64_t first, int64_t leaves) {
    run_forward(ctx_, op,
                {state[0].view, state[1].view, leaf_mean.view.slice(0, first, leaves),
                 leaf_variance.view.slice(0, first, leaves)},
                {state[0].view, state[1].view});
  };
  step(at_once, 0, 5);
  step(in_turn, 0, 2);
  step(in_turn, 2, 3);
  expect_same_bits(at_once[0], in_turn[0], "mean");
  expect_same_bits(at_once[1], in_turn[1], "variance");
}

TEST_P(Norms, SqueezeExciteIsPoolLinearReluLinearSigmoidAndProduct) {
  constexpr int64_t R = 19;
  Tensor x({N, H, Q, C}, 1, 3, 0.5f), w1({R, C}, 2), b1({R}, 3), w2({C, R}, 4, 0.3f), b2({C}, 5), dy({N, H, Q, C}, 6);
  Tensor y(x.view.sizes), s({N, C}), h({N, R}), g({N, C});
  Tensor dx(x.view.sizes), dw1({2, R, C}), db1({2, R}), dw2({2, C, R}), db2({2, C});
  const SqueezeExcite::In in{x.view, w1.view, b1.view, w2.view, b2.view};
  const SqueezeExcite::Out out{y.view, s.view, h.view, g.view};
  run_forward(ctx_, SqueezeExcite{}, in, out);
  run_backward(ctx_, SqueezeExcite{}, in, out, {dy.view}, {dx.view, dw1.view, db1.view, dw2.view, db2.view});

  const AvgPool2d pool = AvgPool2d::global(x.view.sizes);
  Tensor s2({N, 1, 1, C}), h2({N, R}), g2({N, C}), y2(x.view.sizes);
  const View squeezed(s2.data.data(), DType::f32, {N, C});
  run_forward(ctx_, pool, {x.view}, {s2.view});
  run_forward(ctx_, Linear{}, {squeezed, w1.view, b1.view}, {h2.view});
  for (float& v : h2.data) v = v < 0 ? 0 : v;
  run_forward(ctx_, Linear{}, {h2.view, w2.view, b2.view}, {g2.view});
  for (float& v : g2.data) v = sigmoid(v);
  auto gate = [&](size_t i) { return g2.data[i / size_t(H * Q * C) * size_t(C) + i % size_t(C)]; };
  for (size_t i = 0; i < y2.data.size(); i++) y2.data[i] = x.data[i] * gate(i);
  expect_same_bits(h, h2, "hidden");
  expect_same_bits(g, g2, "gate");
  expect_same_bits(y, y2, "y");

  Tensor dz({N, C}), da({N, R}), ds({N, 1, 1, C}), dpool(x.view.sizes), dx2(x.view.sizes), dw1_2({2, R, C}),
      db1_2({2, R}), dw2_2({2, C, R}), db2_2({2, C});
  for (int64_t n = 0; n < N; n++)
    for (int64_t c = 0; c < C; c++) {
      float sum = 0;
      for (int64_t k = 0; k < H * Q; k += 512) {
        float chunk = 0;
        for (int64_t p = k; p < std::min(H * Q, k + 512); p++) {
          const size_t i = size_t((n * H * Q + p) * C + c);
          chunk = std::fma(dy.data[i], x.data[i], chunk);
        }
        sum = k ? sum + chunk : chunk;
      }
      const float v = g2.data[size_t(n * C + c)];
      dz.data[size_t(n * C + c)] = sum * (v * (1 - v));
    }
  const View ds_rows(ds.data.data(), DType::f32, {N, C});
  run_backward(ctx_, Linear{}, {h2.view, w2.view, b2.view}, {g2.view}, {dz.view}, {da.view, dw2_2.view, db2_2.view});
  for (size_t i = 0; i < da.data.size(); i++) da.data[i] = h2.data[i] <= 0 ? 0 : da.data[i];
  run_backward(ctx_, Linear{}, {squeezed, w1.view, b1.view}, {h2.view}, {da.view}, {ds_rows, dw1_2.view, db1_2.view});
  run_backward(ctx_, pool, {x.view}, {s2.view}, {ds.view}, {dpool.view});
  for (size_t i = 0; i < dx2.data.size(); i++) dx2.data[i] = std::fma(dy.data[i], gate(i), dpool.data[i]);
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw1, dw1_2, "dreduce");
  expect_same_bits(db1, db1_2, "dreduce_bias");
  expect_same_bits(dw2, dw2_2, "dexpand");
  expect_same_bits(db2, db2_2, "dexpand_bias");
}

INSTANTIATE_TEST_SUITE_P(All, Norms, testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 3)),
                         backend_and_threads);

TEST(NormContracts, RefuseWhatDoesNotFit) {
  float data[96] = {};
  auto view = [&](Sizes s) { return View(data, DType::f32, s); };
  EXPECT_THROW(GroupNormSilu{.groups = 4}.infer({view({1, 2, 2, 6}), view({6}), view({6})}), Error);
  EXPECT_THROW(GroupNormSilu{.groups = 2}.infer({view({1, 0, 2, 6}), view({6}), view({6})}), Error);
  EXPECT_THROW(BatchNorm{.leaf_samples = 2}.infer({view({3, 2, 2, 4}), view({4}), view({4}), {}, {}}), Error);
  EXPECT_THROW(BatchNorm{}.infer({view({2, 2, 2, 4}), view({4}), view({4}), view({4}), view({4})}), Error);
  EXPECT_THROW(BatchNorm{.statistics = Statistics::running}.infer({view({2, 2, 2, 4}), view({4}), view({4}), {}, {}}),
               Error);
  EXPECT_THROW((BatchNormRunning{.count = 1}.infer({view({4}), view({4}), view({2, 4}), view({2, 4})})), Error);
  EXPECT_THROW((AvgPool2d{.kernel = {2, 2}, .padding = {2, 0}}.infer({view({1, 4, 4, 2})})), Error);
  EXPECT_THROW((AvgPool2d{.kernel = {3, 3}}.infer({view({1, 2, 4, 2})})), Error);
  EXPECT_THROW(SqueezeExcite{}.infer({view({1, 2, 2, 4}), view({3, 4}), view({3}), view({5, 3}), view({5})}), Error);
}

}  // namespace
}  // namespace dr
