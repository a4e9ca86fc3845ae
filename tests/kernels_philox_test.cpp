// Philox4x32-10 against the known answers that its authors publish with Random123 (kat_vectors), the vector form
// against the scalar one on every instruction set, and whether the numbers look as they should: each statistic is
// taken in double for a fixed seed, and its limit is five standard deviations of what independent numbers give.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/core/philox.h"
#include "kernels/philox_fill/philox_fill.h"

namespace dr {
namespace {

constexpr bool equal(PhiloxWords a, PhiloxWords b) {
  for (int i = 0; i < 4; i++)
    if (a.x[i] != b.x[i]) return false;
  return true;
}

// Random123's kat_vectors, lines "philox4x32 10". They hold at compile time too.
static_assert(equal(philox4x32({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
static_assert(equal(philox4x32({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
static_assert(equal(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
                    {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));

constexpr uint32_t kRng[kRngWords] = {0x12345678, 0x9abcdef0, 41, 0};

// What PhiloxFill gives for one sample of `count` elements.
template <class T>
std::vector<T> filled(const PhiloxFill& op, int64_t count, Backend backend, uint64_t first_sample = 0,
                      uint32_t op_id = 5) {
  std::vector<T> y(static_cast<size_t>(count));
  uint32_t rng[kRngWords];
  std::memcpy(rng, kRng, sizeof rng);
  const View like(y.data(), dtype_of<T>, {1, count});
  Context ctx;
  ctx.backend = backend;
  ctx.first_sample = first_sample;
  ctx.op_id = op_id;
  run_forward(ctx, op, {View(rng, DType::u32, {kRngWords}), like}, {like});
  return y;
}

TEST(Philox, KnownAnswersAtRunTime) {
  // volatile: the compiler must not fold what the static assertions have already checked.
  volatile uint32_t zero = 0, ones = ~0u;
  EXPECT_TRUE(
      equal(philox4x32({{zero, zero, zero, zero}}, zero, zero), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  EXPECT_TRUE(
      equal(philox4x32({{ones, ones, ones, ones}}, ones, ones), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
}

TEST(Philox, PacksTheCounterAsDocumented) {
  // Pi's digits again, through seed, step, op id and block.
  const RandomStream s{0x299f31d0a4093822u, 0x03707344, 0x13198a2e};
  EXPECT_TRUE(equal(random_block(s, 0x85a308d3243f6a88u), {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
  for (int word = 0; word < 4; word++) EXPECT_EQ(random_bits(s, 40 + uint64_t(word)), random_block(s, 10).x[word]);
  const RandomStream from_tensor = random_stream(kRng, 9);
  EXPECT_EQ(from_tensor.seed, 0x9abcdef012345678u);
  EXPECT_EQ(from_tensor.step, 41u);
  EXPECT_EQ(from_tensor.op_id, 9u);
}

TEST(Philox, UniformsIncludeTheEndTheyClaim) {
  EXPECT_EQ(uniform_below_one(0), 0.f);
  EXPECT_EQ(uniform_below_one(~0u), 1.f - 0x1p-24f);
  EXPECT_EQ(uniform_above_zero(0), 0x1p-24f);
  EXPECT_EQ(uniform_above_zero(~0u), 1.f);
}

TEST(Philox, VectorsEqualScalarsOnEveryInstructionSet) {
  const PhiloxFill op{Distribution::bits};
  const RandomStream s = random_stream(kRng, 5);
  // 1001 elements per sample: slices begin at every position within a block. Sample 17162706 is where the block index
  // outgrows 32 bits.
  for (uint64_t sample : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{17162706}, uint64_t{1} << 40})
    for (Backend b : cpu_backends()) {
      const std::vector<uint32_t> y = filled<uint32_t>(op, 1001, b, sample);
      for (size_t i = 0; i < y.size(); i++)
        ASSERT_EQ(y[i], random_bits(s, sample * 1001 + i)) << name_of(b) << " " << sample << " " << i;
    }
}

TEST(Philox, NormalsEqualScalarsOnEveryInstructionSet) {
  const PhiloxFill op{Distribution::normal, 0, 1};
  const RandomStream s = random_stream(kRng, 5);
  constexpr int64_t kCount = 100003;
  for (Backend b : cpu_backends()) {
    const std::vector<float> y = filled<float>(op, kCount, b, 3);
    for (size_t i = 0; i < y.size(); i++) {
      const uint64_t element = 3 * uint64_t(kCount) + i;
      const float z = normal(random_block(s, element / 4), int(element % 4));
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(z)) << name_of(b) << " " << i;
    }
  }
}

// The sequence of f32 operations is the contract: these bits hold on every processor, devices included.
TEST(Philox, RadiusAndCircleKeepTheirBits) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a over words
  auto add = [&](float v) { hash = (hash ^ std::bit_cast<uint32_t>(v)) * 0x100000001b3u; };
  for (uint32_t i = 0; i < 1u << 24; i += 257) {
    add(normal_radius(i << 8));
    for (uint32_t flags = 0; flags < 4; flags++)
      for (float x : normal_circle(i << 8 | flags).x) add(x);
  }
  EXPECT_EQ(hash, 0x1e66f10ee3b8cb5u);
}

TEST(Philox, RadiusAndCircleStayWithinTheirStatedError) {
  const long double pi = std::numbers::pi_v<long double>;
  EXPECT_EQ(std::bit_cast<uint32_t>(normal_radius(~0u)), 0u);  // u = 1, which the loop does not meet
  for (uint32_t i = 0; i < 1u << 24; i += 257) {
    const uint32_t word = i << 8;
    const long double radius = std::sqrt(-2 * std::log((i + 1) * 0x1p-24L));
    ASSERT_LE(std::fabs(normal_radius(word) - radius), radius * kRadiusError * 0x1p-24L) << i;
    // Odd multiples of 2^-24 in the order of signed numbers, by plain arithmetic.
    const int64_t place = int64_t(i) - (i < 1u << 23 ? 0 : 1 << 24);
    ASSERT_EQ(circle_argument(word), double(2 * place + 1) * 0x1p-24) << i;
    const long double angle = pi / 4 * (2 * place + 1) * 0x1p-24L, c = std::cos(angle), s = std::sin(angle);
    const CirclePoint p = normal_circle(word);
    ASSERT_LE(std::fabs(p.x[0] - c), c * kCosError * 0x1p-24L) << i;
    ASSERT_LE(std::fabs(p.x[1] - s), std::fabs(s) * kSinError * 0x1p-24L) << i;
    // The low bits mirror and swap, whatever the six bits between hold.
    for (uint32_t rest : {0u, 0xfcu}) {
      const CirclePoint m = normal_circle(word | rest | 1), t = normal_circle(word | rest | 2);
      const CirclePoint both = normal_circle(word | rest | 3);
      ASSERT_TRUE(m.x[0] == -p.x[0] && m.x[1] == p.x[1] && t.x[0] == p.x[1] && t.x[1] == p.x[0]) << i;
      ASSERT_TRUE(both.x[0] == p.x[1] && both.x[1] == -p.x[0]) << i;
    }
  }
}

TEST(Philox, OtherSeedsStepsAndOpsGiveOtherNumbers) {
  const RandomStream base{1, 2, 3};
  const RandomStream others[] = {{2, 2, 3}, {1ull << 32 | 1, 2, 3}, {1, 3, 3}, {1, 2, 4}, {1, 3, 2}};
  for (const RandomStream& other : others) {
    int same = 0;
    for (uint64_t e = 0; e < 1000; e++) same += random_bits(base, e) == random_bits(other, e);
    EXPECT_EQ(same, 0);
  }
}

TEST(Philox, UniformsFillTheirIntervalEvenly) {
  constexpr int64_t kCount = 1 << 20;
  constexpr int kBins = 256;
  const std::vector<float> y = filled<float>({Distribution::uniform, 0, 1}, kCount, cpu_backends()[0]);
  std::vector<int64_t> bins(kBins);
  double sum = 0, square = 0;
  for (float v : y) {
    ASSERT_TRUE(v >= 0 && v < 1);
    bins[size_t(v * kBins)]++;
    sum += v, square += (v - 0.5) * (v - 0.5);
  }
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(square / kCount, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kCount));
  double chi_square = 0;
  const double expected = double(kCount) / kBins;
  for (int64_t n : bins) chi_square += (double(n) - expected) * (double(n) - expected) / expected;
  EXPECT_NEAR(chi_square, kBins - 1, 5 * std::sqrt(2.0 * (kBins - 1)));
}

TEST(Philox, NormalsHaveTheirMomentsAndTails) {
  constexpr int64_t kCount = 1 << 20;
  const std::vector<float> y = filled<float>({Distribution::normal, 0, 1}, kCount, cpu_backends()[0]);
  double moments[5] = {};
  constexpr int kBins = 64;  // of equal probability
  std::vector<int64_t> bins(kBins);
  for (float v : y) {
    double power = 1;
    for (double& m : moments) m += power, power *= double(v);
    const double p = 0.5 * std::erfc(-double(v) / std::numbers::sqrt2);
    bins[size_t(std::min(p * kBins, kBins - 1.0))]++;
    ASSERT_LE(std::fabs(v), 5.78f);
  }
  const double n = kCount;
  EXPECT_NEAR(moments[1] / n, 0, 5 * std::sqrt(1 / n));
  EXPECT_NEAR(moments[2] / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(moments[3] / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(moments[4] / n, 3, 5 * std::sqrt(96 / n));
  double chi_square = 0;
  for (int64_t b : bins) chi_square += (double(b) - n / kBins) * (double(b) - n / kBins) / (n / kBins);
  EXPECT_NEAR(chi_square, kBins - 1, 5 * std::sqrt(2.0 * (kBins - 1)));
}

TEST(Philox, NeighboursStepsAndOpsAreUncorrelated) {
  constexpr int64_t kCount = 1 << 20;
  const PhiloxFill op{Distribution::normal, 0, 1};
  const Backend backend = cpu_backends()[0];
  const std::vector<float> y = filled<float>(op, kCount, backend), other = filled<float>(op, kCount, backend, 0, 6);
  const double limit = 5 / std::sqrt(double(kCount));
  for (int lag : {1, 2, 3, 4, 5, 8, 16, 64, 4096}) {
    double sum = 0, squares = 0;  // squares: Box and Muller's pairs share a radius and must still not correlate
    for (int64_t i = 0; i + lag < kCount; i++) {
      const double a = y[size_t(i)], b = y[size_t(i + lag)];
      sum += a * b, squares += (a * a - 1) * (b * b - 1) / 2;
    }
    EXPECT_LE(std::fabs(sum / kCount), limit) << "lag " << lag;
    EXPECT_LE(std::fabs(squares / kCount), limit) << "lag " << lag;
  }
  double between = 0;
  for (size_t i = 0; i < y.size(); i++) between += double(y[i]) * double(other[i]);
  EXPECT_LE(std::fabs(between / kCount), limit);
}

TEST(Philox, BernoulliAndLogitNormalFollowTheirLaw) {
  constexpr int64_t kCount = 1 << 20;
  const Backend backend = cpu_backends()[0];
  double ones = 0;
  for (float v : filled<float>({Distribution::bernoulli, 0.1f, 0}, kCount, backend)) ones += v;
  EXPECT_NEAR(ones / kCount, 0.1, 5 * std::sqrt(0.1 * 0.9 / kCount));
  // The median of sigmoid(z) is 1/2, and sigmoid(1) is its 84.13th percentile.
  double below_half = 0, below_one_deviation = 0;
  for (float v : filled<float>({Distribution::logit_normal, 0, 1}, kCount, backend)) {
    ASSERT_TRUE(v > 0 && v < 1);
    below_half += v < 0.5f, below_one_deviation += v < 0.7310586f;
  }
  EXPECT_NEAR(below_half / kCount, 0.5, 5 * std::sqrt(0.25 / kCount));
  EXPECT_NEAR(below_one_deviation / kCount, 0.841345, 5 * std::sqrt(0.841345 * 0.158655 / kCount));
}

TEST(Philox, BadCallsAreRefused) {
  float y[4] = {};
  uint32_t rng[kRngWords] = {};
  const View like(y, DType::f32, {1, 4}), state(rng, DType::u32, {kRngWords});
  EXPECT_THROW(PhiloxFill{Distribution::bits}.infer({state, like}), Error);
  EXPECT_THROW((PhiloxFill{Distribution::bernoulli, 1.5f, 0}.infer({state, like})), Error);
  EXPECT_THROW((PhiloxFill{Distribution::normal, 0, -1}.infer({state, like})), Error);
  EXPECT_THROW((PhiloxFill{Distribution::uniform, 1, 0}.infer({state, like})), Error);
  EXPECT_THROW((PhiloxFill{}.infer({View(rng, DType::u32, {3}), like})), Error);
}

}  // namespace
}  // namespace dr
