// Identities of the structural, reducing and recurrent ops that hold for every input, and their orders of summation
// written out as plain loops.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/block_gru/block_gru.h"
#include "kernels/concat/concat.h"
#include "kernels/cumsum/cumsum.h"
#include "kernels/ema/ema.h"
#include "kernels/gather/gather.h"
#include "kernels/lambda_returns/lambda_returns.h"
#include "kernels/linear/linear.h"
#include "kernels/mul/mul.h"
#include "kernels/percentile_ema/percentile_ema.h"
#include "kernels/reduce/reduce.h"
#include "kernels/scatter_add/scatter_add.h"
#include "kernels/slice/slice.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

class Structural : public KernelTest {
 protected:
  Structural() : KernelTest(1 << 23) {}
};

// ---- concat, slice ----

TEST_P(Structural, ConcatOfSlicesIsTheIdentity) {
  Tensor x({3, 20, 5, 7}, 1);
  x.data[5] = std::bit_cast<float>(0x7fa12345u);  // a signalling NaN keeps its bits
  for (int axis : {0, 1, 2, 3, -1, -3}) {
    const int64_t n = x.view.size((axis + 4) % 4), a = n / 3, b = n / 2;
    Sizes sizes[3] = {x.view.sizes, x.view.sizes, x.view.sizes};
    const int64_t begins[3] = {0, a, b}, lengths[3] = {a, b - a, n - b};
    std::vector<Tensor> parts;
    Tensor y(x.view.sizes);
    for (int k = 0; k < 3; k++) {
      sizes[k][(axis + 4) % 4] = lengths[k];
      parts.emplace_back(sizes[k]);
    }
    for (size_t k = 0; k < 3; k++)
      run_forward(ctx_, Slice{axis, begins[k], lengths[k]}, {x.view}, {parts[k].view});
    run_forward(ctx_, Concat{axis}, {{}, parts[0].view, parts[1].view, {}, parts[2].view, {}}, {y.view});
    expect_same_bits(x, y, "y");
  }
}

TEST_P(Structural, SlicesInStepsPartATensor) {
  Tensor x({4, 31, 9}, 2), sum(x.view.sizes), dx(x.view.sizes);
  for (int axis : {1, 2})
    for (int64_t step : {2, 3}) {
      std::fill(sum.data.begin(), sum.data.end(), 0.f);
      for (int64_t begin = 0; begin < step; begin++) {
        const Slice op{axis, begin, (x.view.size(axis) - begin + step - 1) / step, step};
        Sizes sizes = x.view.sizes;
        sizes[axis] = op.length;
        Tensor y(sizes);
        run_forward(ctx_, op, {x.view}, {y.view});
        std::fill(dx.data.begin(), dx.data.end(), kNan);
        run_backward(ctx_, op, {x.view}, {y.view}, {y.view}, {dx.view});
        for (int64_t i = 0; i < x.count(); i++) sum.data[size_t(i)] += dx[i];
      }
      expect_same_bits(x, sum, "the parts, each in its place");
    }
}

TEST_P(Structural, BadCallsAreRefused) {
  Tensor x({2, 5});
  EXPECT_THROW(Slice({1, 3, 3}).infer({x.view}), Error);
  EXPECT_THROW(Slice({1, 0, 3, 3}).infer({x.view}), Error);
  EXPECT_THROW(Slice({2, 0, 1}).infer({x.view}), Error);
  EXPECT_THROW(Slice({1, 0, -1}).infer({x.view}), Error);
  Tensor y({3, 5});
  EXPECT_THROW(Concat{1}.infer({x.view, y.view, {}, {}, {}, {}}), Error);
  EXPECT_THROW(Concat{0}.infer({}), Error);
  for (int32_t bad : {-2, 5, std::numeric_limits<int32_t>::max()}) {
    Indices index({2, 3}, std::vector<int32_t>{0, 1, 2, 4, bad, 0});
    Tensor rows({2, 3}), sums({2, 5});
    EXPECT_THROW(run_forward(ctx_, Gather{}, {x.view, index.view}, {rows.view}), Error);
    EXPECT_THROW(run_forward(ctx_, ScatterAdd{5}, {rows.view, index.view}, {sums.view}), Error);
  }
  EXPECT_THROW(Reduce({ReduceKind::max}).infer({Tensor({2, 0}).view}), Error);
}

// ---- outputs large enough to be streamed past the caches: the same bits ----

TEST_P(Structural, LargeCopiesAreCopies) {
  const int64_t rows = 40000, narrow = 70, wide = 201;  // 43 MB; no row but the first starts on a cache line
  Tensor a({rows, narrow}, 3), b({rows, wide}, 4), y({rows, narrow + wide});
  run_forward(ctx_, Concat{1}, {a.view, b.view, {}, {}, {}, {}}, {y.view});
  bool same = true;
  for (int64_t r = 0; r < rows; r++) {
    same &= std::memcmp(&y.data[size_t(r * (narrow + wide))], &a.data[size_t(r * narrow)], size_t(narrow) * 4) == 0;
    same &= std::memcmp(&y.data[size_t(r * (narrow + wide) + narrow)], &b.data[size_t(r * wide)],
                        size_t(wide) * 4) == 0;
  }
  EXPECT_TRUE(same);

  Tensor back({rows, wide}), dy({rows, narrow + wide});
  run_forward(ctx_, Slice{1, narrow, wide}, {y.view}, {back.view});
  EXPECT_TRUE(back.data == b.data);
  std::fill(dy.data.begin(), dy.data.end(), 1.f);
  run_backward(ctx_, Slice{1, narrow, wide}, {y.view}, {}, {back.view}, {dy.view});
  double outside = 0, inside = 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < narrow + wide; c++)
      (c < narrow ? outside : inside) += std::fabs(dy[r * (narrow + wide) + c]);
  EXPECT_EQ(outside, 0);
  EXPECT_EQ(inside,
            std::accumulate(b.data.begin(), b.data.end(), 0., [](double s, float v) { return s + std::fabs(v); }));

  Indices all({1, rows});
  std::iota(all.data.begin(), all.data.end(), 0);
  std::reverse(all.data.begin(), all.data.end());
  Tensor turned({1, rows, narrow + wide});
  run_forward(ctx_, Gather{}, {View(y.data.data(), DType::f32, {1, rows, narrow + wide}), all.view}, {turned.view});
  same = true;
  for (int64_t r = 0; r < rows; r++)
    same &= std::memcmp(&turned.data[size_t(r * (narrow + wide))], &y.data[size_t((rows - 1 - r) * (narrow + wide))],
                        size_t(narrow + wide) * 4) == 0;
  EXPECT_TRUE(same);
}

// ---- gather, scatter_add ----

TEST_P(Structural, GatherByTheIdentityIsACopy) {
  Tensor x({3, 40, 13}, 5), y(x.view.sizes);
  Indices index({40});
  std::iota(index.data.begin(), index.data.end(), 0);
  run_forward(ctx_, Gather{}, {x.view, index.view}, {y.view});
  expect_same_bits(x, y, "y");
}

TEST_P(Structural, ScatterOfGatherByAPermutationIsTheIdentity) {
  const int64_t n = 97;
  Tensor x({2, n, 21}, 6), picked(x.view.sizes), y(x.view.sizes);
  Indices index({2, n});
  for (int64_t i = 0; i < n; i++)
    index.data[size_t(i)] = int32_t(i * 31 % n), index.data[size_t(n + i)] = int32_t((i * 53 + 7) % n);
  run_forward(ctx_, Gather{}, {x.view, index.view}, {picked.view});
  run_forward(ctx_, ScatterAdd{n}, {picked.view, index.view}, {y.view});
  expect_same_bits(x, y, "y");
}

// By the letter: per destination its sources in ascending order, chains of 512.
TEST_P(Structural, ScatterAddIsItsDefinition) {
  const int64_t sources = 3000, rows = 4, width = 37;
  Tensor x({1, sources, width}, 7, 100), y({1, rows, width}), expected({1, rows, width}), dx({1, rows, width});
  Indices index({1, sources});
  for (int64_t m = 0; m < sources; m++) index.data[size_t(m)] = int32_t(m * m % 7 % 5) - 1;
  run_forward(ctx_, ScatterAdd{rows}, {x.view, index.view}, {y.view});
  for (int64_t n = 0; n < rows; n++)
    for (int64_t c = 0; c < width; c++) {
      float sum = 0, chunk = 0;
      int64_t count = 0, chunks = 0;
      auto close = [&] { sum = chunks++ ? sum + chunk : chunk, chunk = 0, count = 0; };
      for (int64_t m = 0; m < sources; m++) {
        if (index[m] != n) continue;
        chunk = chunk + x[m * width + c];
        if (++count == 512) close();
      }
      if (count) close();
      expected.data[size_t(n * width + c)] = sum;
    }
  expect_same_bits(y, expected, "y");
  run_backward(ctx_, Gather{}, {y.view, index.view}, {x.view}, {x.view}, {dx.view});
  expect_same_bits(dx, expected, "the gradient of gather");
}

TEST_P(Structural, ScatterAddCounts) {
  Indices ones({1, 1000}, std::vector<int32_t>(1000, 1)), index({1, 1000}), counts({1, 3});
  for (int64_t m = 0; m < 1000; m++) index.data[size_t(m)] = m < 100 ? -1 : m < 350 ? 0 : 2;
  run_forward(ctx_, ScatterAdd{3}, {ones.view, index.view}, {counts.view});
  EXPECT_EQ(counts.data, (std::vector<int32_t>{250, 0, 650}));
}

// ---- reduce ----

// The canonical row sum: 32 lanes, a butterfly, blocks of 4096, a tree.
float row_sum(const float* x, int64_t n) {
  std::vector<float> sums;
  for (int64_t base = 0; base < n; base += 4096) {
    float lane[32] = {};
    for (int64_t i = base; i < std::min(n, base + 4096); i++) lane[i % 32] += x[i];
    for (int half = 16; half; half /= 2)
      for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    sums.push_back(lane[0]);
  }
  while (sums.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i < sums.size(); i += 2) next.push_back(i + 1 < sums.size() ? sums[i] + sums[i + 1] : sums[i]);
    sums = next;
  }
  return sums.empty() ? 0 : sums[0];
}

TEST_P(Structural, SumsAreTheirDefinitions) {
  for (auto [outer, n] : {std::pair<int64_t, int64_t>{5, 700}, {2, 4096}, {3, 20001}, {1, 150000}}) {
    Tensor x({outer, n}, 8), y({outer, 1}), expected({outer, 1});
    run_forward(ctx_, Reduce{ReduceKind::sum}, {x.view}, {y.view, {}});
    for (int64_t o = 0; o < outer; o++) expected.data[size_t(o)] = row_sum(&x.data[size_t(o * n)], n);
    expect_same_bits(y, expected, "row sum");
    run_forward(ctx_, Reduce{ReduceKind::mean, 1}, {x.view}, {y.view, {}});
    for (float& v : expected.data) v /= float(n);
    expect_same_bits(y, expected, "row mean");
  }
  for (auto [outer, n, inner] : {std::array<int64_t, 3>{1, 3000, 80}, {9, 600, 5}}) {
    Tensor x({outer, n, inner}, 9), y({outer, 1, inner}), expected({outer, 1, inner});
    run_forward(ctx_, Reduce{ReduceKind::sum, 1}, {x.view}, {y.view, {}});
    for (int64_t o = 0; o < outer; o++)
      for (int64_t c = 0; c < inner; c++) {
        float sum = 0;
        for (int64_t base = 0; base < n; base += 512) {
          float chunk = 0;
          for (int64_t i = base; i < std::min(n, base + 512); i++) chunk += x[(o * n + i) * inner + c];
          sum = base ? sum + chunk : chunk;
        }
        expected.data[size_t(o * inner + c)] = sum;
      }
    expect_same_bits(y, expected, "column sum");
  }
}

// Places that tie, the order of zeros, infinities and NaN, along rows and down columns.
TEST_P(Structural, MaxAndMinKeepTheTotalOrder) {
  struct Row {
    std::vector<float> x;
    int32_t max, min;
  };
  const std::vector<Row> rows = {{{1, 3, 2, 3, 1}, 1, 0},           {{-0.f, 0.f, -0.f, 0.f, -0.f}, 1, 0},
                                 {{0.f, -0.f, 0.f, -0.f, 0.f}, 0, 1}, {{1, kNan, 5, -kNan, kInfinity}, 1, 1},
                                 {{kInfinity, -kInfinity, kInfinity, 0, -kInfinity}, 0, 1},
                                 {{-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity}, 0, 0},
                                 {{2, 1, 0, -1, -kNan}, 4, 4}};
  for (int64_t repeat : {1, 7, 2000}) {  // the pattern once, in several vectors, in several blocks
    const int64_t n = 5 * repeat;
    for (const Row& row : rows) {
      std::vector<float> values;
      for (int64_t i = 0; i < repeat; i++) values.insert(values.end(), row.x.begin(), row.x.end());
      std::vector<float> spread(size_t(n * 19));  // 19 columns of the same
      for (int64_t i = 0; i < n * 19; i++) spread[size_t(i)] = values[size_t(i / 19)];
      for (bool columns : {false, true}) {
        Tensor x(columns ? Sizes{1, n, 19} : Sizes{1, n, 1}, columns ? spread : values);
        for (ReduceKind kind : {ReduceKind::max, ReduceKind::min}) {
          const int64_t inner = columns ? 19 : 1, lowest = kind == ReduceKind::max ? row.max : row.min;
          const Reduce op{kind, 1, columns ? 1 : 2};
          Tensor y({1, 1, inner}), dy({1, 1, inner}, 10), dx(x.view.sizes);
          Indices index({1, 1, inner});
          run_forward(ctx_, op, {x.view}, {y.view, index.view});
          run_backward(ctx_, op, {x.view}, {y.view, index.view}, {dy.view}, {dx.view});
          for (int64_t c = 0; c < inner; c++) {
            const float found = values[size_t(lowest)];
            ASSERT_EQ(index[c], lowest) << "kind " << int(kind) << ", n " << n << ", columns " << columns;
            ASSERT_EQ(std::bit_cast<uint32_t>(y[c]), std::isnan(found) ? 0x7fc00000u : std::bit_cast<uint32_t>(found));
            for (int64_t i = 0; i < n; i++) ASSERT_EQ(dx[i * inner + c], i == lowest ? dy[c] : 0.f);
          }
        }
      }
    }
  }
}

// ---- cumsum, ema ----

TEST_P(Structural, RunningSumsAreStrictlySequential) {
  for (auto [outer, n, inner] : {std::array<int64_t, 3>{1, 1000, 1}, {37, 50, 1}, {2, 70, 5}, {3, 40, 150}}) {
    Tensor x({outer, n, inner}, 11, 1000), y(x.view.sizes), expected(x.view.sizes);
    for (bool reverse : {false, true}) {
      run_forward(ctx_, CumSum{1, reverse}, {x.view}, {y.view});
      for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < inner; c++) {
          float sum = 0;
          for (int64_t k = 0; k < n; k++) {
            const int64_t at = (o * n + (reverse ? n - 1 - k : k)) * inner + c;
            sum = sum + x[at];
            expected.data[size_t(at)] = sum;
          }
        }
      expect_same_bits(y, expected, "y");
    }
  }
}

TEST_P(Structural, LargeRunningSumsAndMeansAreStreamed) {
  const int64_t rows = 18000, width = 512;  // 37 MB of whole cache lines
  std::vector<std::byte> memory(size_t(2 * rows * width) * 4 + 64);
  std::byte* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const View y(aligned, DType::f32, {rows, width}), dx(aligned + size_t(rows * width) * 4, DType::f32, {rows, width});
  Tensor x({rows, width}, 12), mean({rows, 1});
  run_forward(ctx_, CumSum{}, {x.view}, {y});
  run_forward(ctx_, Reduce{ReduceKind::mean}, {x.view}, {mean.view, {}});
  run_backward(ctx_, Reduce{ReduceKind::mean}, {x.view}, {mean.view, {}}, {mean.view}, {dx});
  for (int64_t r = 0; r < rows; r++) {
    float sum = 0;
    for (int64_t c = 0; c < width; c++) {
      sum += x[r * width + c];
      ASSERT_EQ(y.at<float>(r, c), sum);
      ASSERT_EQ(dx.at<float>(r, c), mean[r] / float(width));
    }
  }
}

TEST_P(Structural, EmaEndsAreExactAndInPlace) {
  Tensor average({1000}, 13), x({1000}, 14), y({1000}), decay({1});
  for (float d : {0.f, 1.f}) {
    decay.data[0] = d;
    run_forward(ctx_, Ema{}, {average.view, x.view, decay.view}, {y.view});
    expect_same_bits(y, d == 0 ? x : average, "y");
  }
  decay.data[0] = 0.9f;
  run_forward(ctx_, Ema{}, {average.view, x.view, decay.view}, {y.view});
  run_forward(ctx_, Ema{}, {average.view, x.view, decay.view}, {average.view});
  expect_same_bits(y, average, "in place");
}

// ---- mul ----

TEST_P(Structural, FactorsPerRowAreFactorsSpreadOverTheRow) {
  Tensor a({4, 6, 100}, 15), b({4, 6, 1}, 16), spread(a.view.sizes), z(a.view.sizes), z2(a.view.sizes),
      dz(a.view.sizes, 17),
      da(a.view.sizes), da2(a.view.sizes), db({4, 6, 1}), product(a.view.sizes), expected({4, 6, 1});
  for (int64_t i = 0; i < a.count(); i++) spread.data[size_t(i)] = b[i / 100];
  run_forward(ctx_, Mul{}, {a.view, b.view}, {z.view});
  run_forward(ctx_, Mul{}, {a.view, spread.view}, {z2.view});
  expect_same_bits(z, z2, "z");
  run_backward(ctx_, Mul{}, {a.view, b.view}, {z.view}, {dz.view}, {da.view, db.view});
  run_backward(ctx_, Mul{}, {a.view, spread.view}, {z2.view}, {dz.view}, {da2.view, {}});
  expect_same_bits(da, da2, "da");
  for (int64_t r = 0; r < 24; r++) {  // each lane by fma
    float lane[32] = {};
    for (int64_t i = 0; i < 100; i++) lane[i % 32] = std::fma(dz[r * 100 + i], a[r * 100 + i], lane[i % 32]);
    for (int half = 16; half; half /= 2)
      for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    expected.data[size_t(r)] = lane[0];
  }
  expect_same_bits(db, expected, "db");
}

// ---- returns ----

TEST_P(Structural, LambdaZeroAndOneAreOneStepTargetsAndDiscountedSums) {
  const int64_t batch = 9, steps = 13;
  Tensor reward({batch, steps}, 18), discount({batch, steps}, 19), value({batch, steps}, 20), bootstrap({batch}, 21),
      returns({batch, steps}), expected({batch, steps});
  discount.data[4] = 0;  // an episode ends
  for (float lambda : {0.f, 1.f}) {
    run_forward(ctx_, LambdaReturns{lambda}, {reward.view, discount.view, value.view, bootstrap.view}, {returns.view});
    for (int64_t b = 0; b < batch; b++) {
      float next = bootstrap[b];
      for (int64_t t = steps - 1; t >= 0; t--) {
        const int64_t at = b * steps + t;
        expected.data[size_t(at)] = std::fma(discount[at], next, reward[at]);
        next = lambda == 0 ? value[at] : expected[at];
      }
    }
    expect_same_bits(returns, expected, "returns");
    EXPECT_EQ(returns[4], reward[4]);
  }
}

TEST_P(Structural, PercentilesAreThoseOfASortedArray) {
  for (int64_t n : {1, 2, 20, 21, 101, 999, 40000}) {
    Tensor x({n}, uint32_t(22 + n), 10), state({2}, std::vector<float>{-1, 2}), next({2}), percentiles({2}), scale({1});
    for (int64_t i = 0; i < n; i += 3) x.data[size_t(i)] = std::round(x[i]);  // ties, zeros of either sign
    std::vector<float> v = x.data;
    std::sort(v.begin(), v.end(), [](float a, float b) { return a != b ? a < b : std::signbit(a) > std::signbit(b); });
    const PercentileEma op{.rate = 0.25f};
    run_forward(ctx_, op, {x.view, state.view}, {next.view, percentiles.view, scale.view});
    Tensor expected({2}), moved({2});
    for (int k = 0; k < 2; k++) {
      const int64_t hundredths = (k ? 95 : 5) * (n - 1), i = hundredths / 100;  // the position in whole numbers
      const float f = float(double(hundredths) / 100 - double(i)), p = v[size_t(i)];
      expected.data[size_t(k)] = f == 0 || v[size_t(i + 1)] == p ? p : std::fma(f, v[size_t(i + 1)] - p, p);
      moved.data[size_t(k)] = std::fma(0.75f, state[k], 0.25f * expected[k]);
    }
    expect_same_bits(percentiles, expected, "percentiles");
    expect_same_bits(next, moved, "state");
    EXPECT_EQ(scale[0], std::max(1.f, moved[1] - moved[0]));
  }
}

TEST_P(Structural, PercentilesOfNanOrInfinityLeaveTheState) {
  Tensor state({2}, std::vector<float>{-3, 4}), next({2}), percentiles({2}), scale({1});
  Tensor x({50}, 23);
  x.data[31] = -kNan;
  run_forward(ctx_, PercentileEma{}, {x.view, state.view}, {next.view, percentiles.view, scale.view});
  EXPECT_TRUE(std::isnan(percentiles[0]) && std::isnan(percentiles[1]));
  expect_same_bits(next, state, "state");
  EXPECT_EQ(scale[0], 7);
  std::fill(x.data.begin() + 10, x.data.end(), kInfinity);
  run_forward(ctx_, PercentileEma{}, {x.view, state.view}, {next.view, percentiles.view, scale.view});
  EXPECT_TRUE(std::isfinite(percentiles[0]));
  EXPECT_EQ(percentiles[1], kInfinity);
  expect_same_bits(next, state, "state");
}

// ---- the block GRU and its parts ----

TEST_P(Structural, BlockLinearIsALinearLayerPerBlock) {
  const int64_t rows = 20, blocks = 3, outputs = 50, inputs = 600;
  ctx_.leaves = 2;
  Tensor x({rows, blocks, inputs}, 24), w({blocks, outputs, inputs}, 25), b({blocks, outputs}, 26),
      dy({rows, blocks, outputs}, 27), y(dy.view.sizes), dx(x.view.sizes), dw({2, blocks, outputs, inputs}),
      db({2, blocks, outputs});
  run_forward(ctx_, BlockLinear{}, {x.view, w.view, b.view}, {y.view});
  run_backward(ctx_, BlockLinear{}, {x.view, w.view, b.view}, {y.view}, {dy.view}, {dx.view, dw.view, db.view});
  Tensor y2(y.view.sizes), dx2(x.view.sizes), dw2(dw.view.sizes), db2(db.view.sizes);
  for (int64_t g = 0; g < blocks; g++) {
    auto block = [&](const Tensor& t, int axis) {  // without the axis of blocks
      View v = t.view.slice(axis, g, 1);
      for (int i = axis; i + 1 < v.rank(); i++) v.sizes[i] = v.size(i + 1), v.strides[size_t(i)] = v.stride(i + 1);
      v.sizes.rank--;
      return v;
    };
    const Linear::In in{block(x, 1), block(w, 0), block(b, 0)};
    run_forward(ctx_, Linear{}, in, {block(y2, 1)});
    run_backward(ctx_, Linear{}, in, {block(y2, 1)}, {block(dy, 1)}, {block(dx2, 1), block(dw2, 1), block(db2, 1)});
  }
  expect_same_bits(y, y2, "y");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
}

TEST_P(Structural, BlockGruIsBlockLinearThenGruCell) {
  const int64_t rows = 14, blocks = 3, width = 37, inputs = 530;
  ctx_.leaves = 2;
  const Sizes gate_sizes{rows, blocks, 3 * width};
  Tensor x({rows, blocks, inputs}, 28), h({rows, blocks, width}, 29), w({blocks, 3 * width, inputs}, 30, 0.1f),
      b({blocks, 3 * width}, 31), dy(h.view.sizes, 32);
  Tensor y(h.view.sizes), gates(gate_sizes), dx(x.view.sizes), dh(h.view.sizes), dw({2, blocks, 3 * width, inputs}),
      db({2, blocks, 3 * width});
  const BlockGru::In in{x.view, h.view, w.view, b.view};
  run_forward(ctx_, BlockGru{}, in, {y.view, gates.view});
  run_backward(ctx_, BlockGru{}, in, {y.view, gates.view}, {dy.view}, {dx.view, dh.view, dw.view, db.view});

  Tensor y2(h.view.sizes), gates2(gate_sizes), dgates(gate_sizes), dx2(x.view.sizes), dh2(h.view.sizes),
      dw2(dw.view.sizes), db2(db.view.sizes);
  run_forward(ctx_, BlockLinear{}, {x.view, w.view, b.view}, {gates2.view});
  run_forward(ctx_, GruCell{}, {h.view, gates2.view}, {y2.view});
  run_backward(ctx_, GruCell{}, {h.view, gates2.view}, {y2.view}, {dy.view}, {dh2.view, dgates.view});
  run_backward(ctx_, BlockLinear{}, {x.view, w.view, b.view}, {gates2.view}, {dgates.view},
               {dx2.view, dw2.view, db2.view});
  expect_same_bits(y, y2, "h'");
  expect_same_bits(gates, gates2, "gates");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dh, dh2, "dh");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
}

// h' = z tanh(s c) + (1 - z) h with s = sigmoid(reset), z = sigmoid(update - 1), by hand.
TEST_P(Structural, GruCellAtKnownPoints) {
  struct Point {
    double h, reset, candidate, update, expected;
  };
  const double log2 = std::log(2.0), log3 = std::log(3.0), e = std::exp(1.0);
  const Point points[] = {{0.5, 0, 0, 0, 0.5 * e / (1 + e)},                            // z = 1 / (1 + e)
                          {1, 0, 0, 1, 0.5},                                            // z = 1/2
                          {0, log3, log3 * 4 / 3, 1, 0.5 * 0.8},                        // s = 3/4, tanh(log 3) = 0.8
                          {-1, log3, -log2 * 4 / 3, 1 + log3, -0.75 * 0.6 - 0.25},      // z = 3/4, tanh(log 2) = 0.6
                          {0.25, -log3, 4 * log3, 1 - log3, 0.25 * 0.8 + 0.75 * 0.25}};  // s = z = 1/4
  for (const Point& p : points) {
    Tensor h({1, 1, 1}, std::vector<float>{float(p.h)}), y({1, 1, 1}),
        gates({1, 1, 3}, std::vector<float>{float(p.reset), float(p.candidate), float(p.update)});
    run_forward(ctx_, GruCell{}, {h.view, gates.view}, {y.view});
    EXPECT_NEAR(y[0], p.expected, 16 * 0x1p-24) << p.reset << " " << p.candidate << " " << p.update;
  }
}

// A closed update gate keeps the state; an open one with the reset gate closed forgets all.
TEST_P(Structural, GatesOfTheGruOpenAndClose) {
  const int64_t width = 40;
  Tensor h({1, 1, width}, 33), y(h.view.sizes), zero(h.view.sizes), gates({1, 1, 3 * width}, 34);
  std::fill(gates.data.begin() + 2 * width, gates.data.end(), -1e6f);
  run_forward(ctx_, GruCell{}, {h.view, gates.view}, {y.view});
  expect_same_bits(y, h, "kept");
  std::fill(gates.data.begin(), gates.data.begin() + width, -1e6f);
  std::fill(gates.data.begin() + width, gates.data.begin() + 2 * width, 0.5f);
  std::fill(gates.data.begin() + 2 * width, gates.data.end(), 1e6f);
  run_forward(ctx_, GruCell{}, {h.view, gates.view}, {y.view});
  for (float v : y.data) EXPECT_EQ(v, 0.f);
}

INSTANTIATE_TEST_SUITE_P(All, Structural, testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 3)),
                         backend_and_threads);

}  // namespace
}  // namespace dr
