// Parameters and the canonical sum over leaves.

#include <gtest/gtest.h>

#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

TEST(Parameters, StartFromTheSeedAndTheirNameAlone) {
  Runtime r({.threads = 2});
  Parameters a(r), b(r), c(r);
  a.add("layer.weight", {40, 50}, Init::normal(0.02f));
  a.add("layer.bias", {50}, Init::zeros());
  b.add("norm.scale", {7}, Init::ones());
  b.add("layer.bias", {50}, Init::zeros());
  b.add("layer.weight", {40, 50}, Init::normal(0.02f));
  c.add("other.weight", {40, 50}, Init::normal(0.02f));
  a.initialise(1), b.initialise(1), c.initialise(1);
  EXPECT_EQ(bits_of(a.at("layer.weight").value), bits_of(b.at("layer.weight").value));
  EXPECT_NE(bits_of(a.at("layer.weight").value), bits_of(c.at("other.weight").value));
  EXPECT_EQ(b.at("norm.scale").value.floats(), std::vector<float>(7, 1.f));
  EXPECT_EQ(a.at("layer.bias").value.floats(), std::vector<float>(50, 0.f));
  double sum = 0, square = 0;
  for (float v : a.at("layer.weight").value.floats()) sum += v, square += double(v) * v;
  EXPECT_NEAR(sum / 2000, 0, 0.002);                         // 4 deviations of the mean
  EXPECT_NEAR(std::sqrt(square / 2000), 0.02, 0.02 * 0.07);  // 4 deviations of the deviation
  const std::vector<uint32_t> before = bits_of(a.at("layer.weight").value);
  a.initialise(2);
  EXPECT_NE(bits_of(a.at("layer.weight").value), before);
  EXPECT_EQ(a.count(), 2050);
}

TEST(Parameters, HashSeesNamesShapesAndEveryBit) {
  Runtime r({.threads = 2});
  const auto make = [&](const char* first, Sizes sizes, bool swapped = false, uint64_t seed = 1) {
    Parameters p(r);
    if (swapped) p.add("b", {3}, Init::ones());
    p.add(first, sizes, Init::normal(1));
    if (!swapped) p.add("b", {3}, Init::ones());
    p.initialise(seed);
    return p;
  };
  const std::string expected = make("a", {4, 5}).hash();
  EXPECT_EQ(expected.size(), 32u);
  EXPECT_EQ(make("a", {4, 5}, true).hash(), expected) << "the order of creation does not matter";
  EXPECT_NE(make("a", {5, 4}).hash(), expected);
  EXPECT_NE(make("c", {4, 5}).hash(), expected);
  EXPECT_NE(make("a", {4, 5}, false, 2).hash(), expected);
  Parameters p = make("a", {4, 5});
  std::vector<float> v = p.at("a").value.floats();
  v[19] = std::bit_cast<float>(std::bit_cast<uint32_t>(v[19]) ^ 1);
  p.at("a").value.copy_from(std::span<const float>(v));
  EXPECT_NE(p.hash(), expected);
}

TEST(Parameters, RefusesATakenName) {
  Runtime r({.threads = 1});
  Parameters p(r);
  p.add("a", {1}, Init::zeros());
  EXPECT_TRUE(refuses([&] { p.add("a", {2}, Init::zeros()); }, "parameter a exists already"));
  EXPECT_TRUE(refuses([&] { (void)p.at("b"); }, "no parameter is called b"));
  EXPECT_TRUE(refuses([&] { p.add("c", {2}, Init::normal(-1)); }, "negative"));
}

// The sum by the rule, written out for scalars.
float by_rule(const std::vector<float>& leaves, int groups) {
  struct Sum {
    bool any = false;
    float v = 0;
    void add(float x) { v = any ? v + x : x, any = true; }
  };
  std::vector<Sum> tree(static_cast<size_t>(groups));
  const int64_t n = int64_t(leaves.size());
  for (int g = 0; g < groups; g++)
    for (int64_t i = g * n / groups; i < (g + 1) * n / groups; i++) tree[size_t(g)].add(leaves[size_t(i)]);
  for (; tree.size() > 1; tree.resize(tree.size() / 2))
    for (size_t i = 0; i < tree.size() / 2; i++) {
      Sum s = tree[2 * i];
      if (tree[2 * i + 1].any) s.add(tree[2 * i + 1].v);
      tree[i] = s;
    }
  return tree[0].v;
}

TEST(GradientAccumulator, FollowsTheRuleForAnySplit) {
  Runtime r({.threads = 1});
  for (int64_t n : {1, 3, 8, 13, 64})
    for (int groups : {1, 2, 8}) {
      const std::vector<float> leaves = numbers(n, uint32_t(n));
      const float expected = by_rule(leaves, groups);
      for (int64_t step : {int64_t{1}, int64_t{3}, n}) {
        GradientAccumulator sum(r, n, groups);
        for (int64_t i = 0; i < n; i += step) {
          const int64_t m = std::min(step, n - i);
          sum.add({r.from(std::vector<float>(leaves.begin() + i, leaves.begin() + i + m), {m, 1}), Tensor()});
        }
        const std::vector<Tensor> total = sum.finish();
        ASSERT_EQ(total.size(), 2u);
        EXPECT_EQ(total[0].sizes(), (Sizes{1}));
        EXPECT_EQ(total[0].floats()[0], expected) << n << " leaves, " << groups << " groups, micro-batches of " << step;
        EXPECT_FALSE(total[1].present());
      }
    }
}

TEST(GradientAccumulator, RanksGetTheSubtreesOfOneRank) {
  Runtime r({.threads = 1});
  for (int64_t n : {2, 5, 16, 24}) {
    const std::vector<float> leaves = numbers(n, 77);
    for (int ranks : {2, 4, 8}) {
      std::vector<Tensor> sums;
      for (int rank = 0; rank < ranks; rank++) {
        GradientAccumulator sum(r, n, 8, rank, ranks);
        while (sum.next_leaf() < sum.end_leaf())
          sum.add({r.from(std::vector<float>{leaves[size_t(sum.next_leaf())]}, {1, 1})});
        const std::vector<Tensor> part = sum.finish();
        sums.push_back(part.empty() ? Tensor() : part[0]);
      }
      for (; sums.size() > 1; sums.resize(sums.size() / 2))
        for (size_t i = 0; i < sums.size() / 2; i++) {
          Tensor s = sums[2 * i];
          if (sums[2 * i + 1]) r.accumulate(s, sums[2 * i + 1]);
          sums[i] = s;
        }
      EXPECT_EQ(sums[0].floats()[0], by_rule(leaves, 8)) << n << " leaves, " << ranks << " ranks";
    }
  }
}

TEST(GradientAccumulator, RefusesMissingAndSurplusLeaves) {
  Runtime r({.threads = 1});
  const Tensor two = random(r, {2, 4}, 1), three = random(r, {3, 4}, 2);
  GradientAccumulator sum(r, 4);
  EXPECT_TRUE(refuses([&] { sum.add({two, three}); }, "gradients of 2 and of 3 leaves"));
  sum.add({two, two});
  EXPECT_TRUE(refuses([&] { (void)sum.finish(); }, "leaf 2 of 4 is missing"));
  EXPECT_TRUE(refuses([&] { sum.add({three, three}); }, "3 leaves where 2 are left"));
  EXPECT_TRUE(refuses([&] { sum.add({two, Tensor()}), (void)sum.finish(); }, "in some micro-batches only"));
  EXPECT_TRUE(refuses([&] { GradientAccumulator(r, 4, 6); }, "power of two"));
  EXPECT_TRUE(refuses([&] { GradientAccumulator(r, 4, 8, 0, 16); }, "up to the 8 leaf groups"));
}

}  // namespace
}  // namespace dr::test
