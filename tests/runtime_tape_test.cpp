// The tape: gradients, slices, checkpoints, leaves, and what it refuses.

#include <gtest/gtest.h>

#include <map>

#include "kernels/adaln/adaln.h"
#include "kernels/add/add.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

using Bits = std::vector<uint32_t>;

TEST(Tape, AccumulatesWhenATensorIsUsedTwice) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {3, 5}, 1), w = random(r, {3, 5}, 2), dz = random(r, {3, 5}, 3);
  Tape tape(r);
  tape.watch(x);
  const Tensor p = tape.apply(Product{}, x, w);          // used second in backward
  const Tensor q = tape.apply(Product{}, x, x);          // first
  tape.backward(tape.apply(Add{}, p, q), dz);
  const auto xs = x.floats(), ws = w.floats(), ds = dz.floats(), gradient = tape.gradient(x).floats();
  for (size_t i = 0; i < xs.size(); i++) {
    const float a = ds[i] * xs[i], expected = (a + a) + ds[i] * ws[i];
    EXPECT_EQ(gradient[i], expected) << i;
  }
  EXPECT_EQ(dz.floats(), ds) << "a seed must not be written to";
}

TEST(Tape, SeedsOfOneTensorAddUp) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {2, 3}, 1), a = random(r, {2, 3}, 2), b = random(r, {2, 3}, 3);
  Tape tape(r);
  tape.watch(x);
  const Tensor y = tape.apply(Product{}, x, r.ones(DType::f32, {2, 3}));
  tape.seed(y, a);
  tape.seed(y, b);
  tape.backward();
  for (size_t i = 0; i < 6; i++) EXPECT_EQ(tape.gradient(x).floats()[i], a.floats()[i] + b.floats()[i]);
}

TEST(Tape, SlicesRouteTheirGradientsAndTheRestIsZero) {
  Runtime r({.threads = 1});
  const Tensor m = random(r, {2, 6, 4}, 1), dy = random(r, {2, 4}, 2);
  Tape tape(r);
  tape.watch(m);
  const auto part = [&](int64_t k) { return tape.reshape(tape.slice(m, 1, k, 1), {2, 4}); };
  const Tensor a = part(1), b = part(4), again = part(1);
  const Tensor y = tape.apply(Add{}, tape.apply(Product{}, a, b), again);
  tape.backward(y, dy);
  const auto g = tape.gradient(m).floats(), ms = m.floats(), d = dy.floats();
  ASSERT_EQ(g.size(), size_t{48});
  for (int64_t f = 0; f < 2; f++)
    for (int64_t k = 0; k < 6; k++)
      for (int64_t c = 0; c < 4; c++) {
        const auto at = [&](int64_t axis1) { return size_t((f * 6 + axis1) * 4 + c); };
        const float dyv = d[size_t(f * 4 + c)];
        const float expected = k == 1 ? dyv + dyv * ms[at(4)] : k == 4 ? dyv * ms[at(1)] : 0.f;
        EXPECT_EQ(g[at(k)], expected) << f << k << c;
      }
}

TEST(Tape, ASlicedTensorMayHaveASeedOfItsOwn) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {3, 4}, 1), dx = random(r, {3, 4}, 2), dy = random(r, {2, 4}, 3);
  Tape tape(r);
  tape.watch(x);
  tape.seed(x, dx);
  tape.backward(tape.slice(x, 0, 1, 2), dy);
  const auto before = random(r, {3, 4}, 2).floats(), part = dy.floats(), g = tape.gradient(x).floats();
  for (size_t i = 0; i < 12; i++) EXPECT_EQ(g[i], i < 4 ? before[i] : before[i] + part[i - 4]);
  EXPECT_EQ(dx.floats(), before) << "a seed must not be written to";
}

TEST(Tape, TellsViewsApartByTheirStrides) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {4, 6}, 1), dy = random(r, {2, 3}, 2);
  Tape tape(r);
  tape.watch(x);
  const Tensor corner = tape.slice(tape.slice(x, 0, 0, 2), 1, 0, 3);                      // x[0][0..2], x[1][0..2]
  const Tensor start = tape.reshape(tape.slice(tape.reshape(x, {24}), 0, 0, 6), {2, 3});  // x[0][0..5]
  ASSERT_EQ(corner.view().data, start.view().data);
  tape.backward(tape.apply(Add{}, corner, start), dy);
  const auto g = tape.gradient(x).floats(), d = dy.floats();
  for (size_t i = 0; i < 24; i++) {
    const float of_corner = i % 6 < 3 && i < 12 ? d[i / 6 * 3 + i % 6] : 0, of_start = i < 6 ? d[i] : 0;
    EXPECT_EQ(g[i], of_start + of_corner) << i;
  }
}

TEST(Tape, ReshapingBackLeadsToTheSameTensor) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {2, 6}, 1), dy = random(r, {2, 6}, 2);
  Tape tape(r);
  tape.watch(x);
  const Tensor h = tape.apply(Product{}, tape.reshape(tape.reshape(x, {12}), {2, 6}), x);  // x * x
  const Tensor back = tape.reshape(tape.reshape(h, {3, 4}), {2, 6});
  tape.backward(tape.apply(Add{}, back, h), dy);  // 2 x x
  for (size_t i = 0; i < 12; i++) {
    const float g = (dy.floats()[i] + dy.floats()[i]) * x.floats()[i];
    EXPECT_EQ(tape.gradient(x).floats()[i], g + g);
  }
}

// A stack of conditioned blocks with everything that must survive a checkpoint: slices of one modulation tensor, a
// shared parameter, a random op, a residual, a tensor used twice.
struct Net {
  enum class Keep { all, blocks, nested, again, again_in_blocks };
  int64_t samples = 8, channels = 33, blocks = 3;
  int leaves = 1;
  uint64_t first_sample = 0;
  Keep keep = Keep::all;

  struct Result {
    Bits y, dx, dmodulation;
    std::vector<Tensor> parameters;
    size_t peak = 0;
    bool operator==(const Result& o) const { return y == o.y && dx == o.dx && dmodulation == o.dmodulation; }
  };

  Result run(Runtime& r) const {
    // Data of sample s is the same whichever micro-batch holds it.
    const auto rows = [&](const Sizes& all, uint32_t id) {
      return random(r, all, id).slice(0, int64_t(first_sample), samples).clone();
    };
    const Tensor x = rows({16, channels}, 1), m = rows({16, 2 * blocks, channels}, 2), dy = rows({16, channels}, 3);
    std::vector<Tensor> w;
    for (int64_t b = 0; b < blocks; b++) w.push_back(random(r, {channels}, uint32_t(10 + b)));

    Result result;
    r.arena()->reset_peak();
    Tape tape(r, {.leaves = leaves, .first_sample = first_sample});
    for (const Tensor& t : w) tape.watch(t);
    tape.watch(x);
    tape.watch(m);
    Tensor h = x;
    for (int64_t b = 0; b < blocks; b++) {
      const auto inner = [=, this](Tape& t, const Tensor& in) {
        const auto part = [&](int64_t k) { return t.reshape(t.slice(m, 1, 2 * b + k, 1), {samples, channels}); };
        const auto make = [&](const auto& op, const auto&... from) {
          return keep >= Keep::again ? t.apply_again(op, from...) : t.apply(op, from...);
        };
        const Tensor n = make(AdaLN{.eps = 1e-5f}, in, part(0), part(1));
        return make(Jitter{}, make(Gain{}, n, w[size_t(b)]));
      };
      const auto block = [=, this](Tape& t) {
        const Tensor g = keep == Keep::nested ? t.checkpoint([=](Tape& u) { return inner(u, h); }) : inner(t, h);
        return t.apply(Add{}, h, t.apply(Product{}, g, g));
      };
      h = keep == Keep::all || keep == Keep::again ? block(tape) : tape.checkpoint(block);
    }
    tape.backward(h, dy);
    result.y = bits_of(h);
    result.dx = bits_of(tape.gradient(x));
    result.dmodulation = bits_of(tape.gradient(m));
    for (const Tensor& t : w) result.parameters.push_back(tape.gradient(t));
    result.peak = r.arena()->stats().peak;
    return result;
  }
};

Bits parameter_bits(const Net::Result& result) {
  Bits all;
  for (const Tensor& t : result.parameters) {
    const Bits b = bits_of(t);
    all.insert(all.end(), b.begin(), b.end());
  }
  return all;
}

void expect_same_bits(const Net::Result& a, const Net::Result& b) {
  EXPECT_TRUE(a == b);
  EXPECT_EQ(parameter_bits(a), parameter_bits(b));
}

// The same function in double, with the random factors of Jitter: sum of y * dy.
double net_in_double(const Net& net, const std::vector<double>& x, const std::vector<double>& m,
                     const std::vector<std::vector<double>>& w, const std::vector<float>& dy) {
  const int64_t c = net.channels;
  double total = 0;
  for (int64_t s = 0; s < net.samples; s++) {
    std::vector<double> h(x.begin() + s * c, x.begin() + (s + 1) * c);
    for (int64_t b = 0; b < net.blocks; b++) {
      double mean = 0, square = 0;
      for (double v : h) mean += v / double(c);
      for (double v : h) square += (v - mean) * (v - mean) / double(c);
      for (int64_t i = 0; i < c; i++) {
        const size_t row = size_t((s * 2 * net.blocks + 2 * b) * c + i);
        const double n = (h[size_t(i)] - mean) / std::sqrt(square + 1e-5f) * (1 + m[row + size_t(c)]) + m[row];
        const double g = n * w[size_t(b)][size_t(i)] * 0.5 *
                         double(1 + random_bits({1, 0, uint32_t(5 * b + 2)}, uint64_t(s * c + i)) % 4);
        h[size_t(i)] += g * g;  // mean and square were taken before
      }
    }
    for (int64_t i = 0; i < c; i++) total += h[size_t(i)] * dy[size_t(s * c + i)];
  }
  return total;
}

TEST(Tape, GradientMatchesCentralDifferences) {
  Runtime r({.threads = 1});
  Net net{.samples = 3, .channels = 7, .blocks = 2};
  const Net::Result result = net.run(r);
  const auto wide = [](const std::vector<float>& v, int64_t n) {
    return std::vector<double>(v.begin(), v.begin() + n);
  };
  std::vector<double> x = wide(numbers(16 * 7, 1), 21), m = wide(numbers(16 * 4 * 7, 2), 3 * 4 * 7);
  std::vector<std::vector<double>> w{wide(numbers(7, 10), 7), wide(numbers(7, 11), 7)};
  const std::vector<float> dy = numbers(16 * 7, 3);
  int nonzero = 0;
  const auto compare = [&](std::vector<double>& at, const Bits& gradient, const char* name) {
    ASSERT_EQ(at.size(), gradient.size());
    for (size_t i = 0; i < at.size(); i++) {
      const double before = at[i], step = 1e-5;
      at[i] = before + step;
      const double above = net_in_double(net, x, m, w, dy);
      at[i] = before - step;
      const double below = net_in_double(net, x, m, w, dy);
      at[i] = before;
      const double expected = (above - below) / (2 * step), got = std::bit_cast<float>(gradient[i]);
      EXPECT_LE(std::fabs(got - expected), 2e-4 * (1 + std::fabs(expected))) << name << " " << i;
      nonzero += std::fabs(expected) > 1e-3;
    }
  };
  compare(x, result.dx, "x");
  compare(m, result.dmodulation, "modulation");
  compare(w[0], bits_of(result.parameters[0]), "w0");
  compare(w[1], bits_of(result.parameters[1]), "w1");
  EXPECT_GT(nonzero, 100) << "the test says nothing where gradients vanish";
}

TEST(Tape, CheckpointsChangeNoBitAndLowerThePeak) {
  Runtime r({.threads = 1});
  Net net{.samples = 16, .channels = 512, .blocks = 6};
  const Net::Result all = net.run(r);
  net.keep = Net::Keep::blocks;
  const Net::Result blocks = net.run(r);
  net.keep = Net::Keep::nested;
  const Net::Result nested = net.run(r);
  expect_same_bits(all, blocks);
  expect_same_bits(all, nested);
  EXPECT_LT(double(blocks.peak), 0.8 * double(all.peak)) << blocks.peak << " against " << all.peak << " bytes";
}

TEST(Tape, WhatIsMadeAgainChangesNoBitAndLowersThePeak) {
  Runtime r({.threads = 1});
  Net net{.samples = 16, .channels = 512, .blocks = 6};
  const Net::Result all = net.run(r);
  net.keep = Net::Keep::again_in_blocks;
  const Net::Result in_blocks = net.run(r);
  net.keep = Net::Keep::again;
  r.profiler.emplace();
  const Net::Result again = net.run(r);
  expect_same_bits(all, again);
  expect_same_bits(all, in_blocks);
  EXPECT_LT(double(again.peak), 0.8 * double(all.peak)) << again.peak << " against " << all.peak << " bytes";
  std::map<std::string, int64_t> calls;
  for (const Profiler::Row& row : r.profiler->rows()) calls[row.name] = row.calls;
  for (const char* name : {"adaln", "gain", "jitter"}) EXPECT_EQ(calls[format("{} (again)", name)], net.blocks) << name;
}

// z reads y through a view, and q reads the view and y itself.
TEST(Tape, WhatIsMadeAgainMayBeReadThroughViews) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {3, 4}, 1), w = random(r, {3, 4}, 2), dq = random(r, {2, 6}, 3);
  std::vector<Bits> gradients;
  for (const bool again : {false, true}) {
    Tape tape(r);
    tape.watch(x);
    const Tensor y = again ? tape.apply_again(Product{}, x, w) : tape.apply(Product{}, x, w);
    const Tensor row = tape.reshape(y, {2, 6});
    const Tensor z = tape.reshape(tape.apply(Product{}, row, row), {3, 4});
    tape.backward(tape.reshape(tape.apply(Product{}, z, y), {2, 6}), dq);
    gradients.push_back(bits_of(tape.gradient(x)));
  }
  EXPECT_EQ(gradients[0], gradients[1]);
}

TEST(Tape, ThreadsAndInstructionSetsChangeNoBit) {
  Runtime one({.threads = 1});
  const Net net{.samples = 16, .channels = 129};
  const Net::Result expected = net.run(one);
  for (int threads : {2, 3}) {
    Runtime r({.threads = threads});
    EXPECT_TRUE(net.run(r) == expected) << threads;
  }
  for (const char* isa : {"avx512", "avx2", "portable"}) {
    try {
      (void)best_cpu_backend(isa);
    } catch (const Error&) {
      continue;  // not built, or not run by this processor
    }
    Runtime r({.cpu_isa = isa, .threads = 2});
    const Net::Result got = net.run(r);
    EXPECT_TRUE(got == expected) << isa;
    EXPECT_EQ(parameter_bits(got), parameter_bits(expected)) << isa;
  }
}

// Gradients of a step of 16 samples, 2 per leaf, in micro-batches of the given numbers of leaves.
Bits step_gradients(Runtime& r, const std::vector<int>& micro_batches, int groups = 8) {
  GradientAccumulator sum(r, 8, groups);
  for (int leaves : micro_batches) {
    Net net{.samples = 2 * leaves, .leaves = leaves, .first_sample = uint64_t(2 * sum.next_leaf())};
    sum.add(net.run(r).parameters);
  }
  Net::Result total;
  total.parameters = sum.finish();
  return parameter_bits(total);
}

TEST(Tape, MicroBatchesOfWholeLeavesChangeNoBit) {
  Runtime r({.threads = 2});
  for (int groups : {1, 2, 4, 8}) {
    const Bits whole = step_gradients(r, {8}, groups);
    EXPECT_EQ(whole, step_gradients(r, {4, 4}, groups)) << groups;
    EXPECT_EQ(whole, step_gradients(r, {1, 1, 1, 1, 1, 1, 1, 1}, groups)) << groups;
    EXPECT_EQ(whole, step_gradients(r, {3, 1, 2, 2}, groups)) << groups;
  }
  EXPECT_NE(step_gradients(r, {8}, 1), step_gradients(r, {8}, 8)) << "the order of groups should show in some bit";
}

// A residual multi-layer perceptron of the real ops: 12 samples of 5 rows, 3 samples per leaf.
struct Perceptron {
  static constexpr int64_t kRows = 5, kSamplesPerLeaf = 3, kLeaves = 4, kC = 40, kHidden = 70;
  std::vector<Bits> outputs;  // of each micro-batch
  Bits parameters;
  std::string hash_before;

  Perceptron(Runtime& r, const std::vector<int>& micro_batches, bool checkpoint) {
    Parameters p(r);
    const Tensor gain = p.add("norm.weight", {kC}, Init::ones()), shift = p.add("norm.bias", {kC}, Init::normal(0.1f));
    const Tensor up = p.add("up.weight", {kHidden, kC}, Init::normal(0.2f));
    const Tensor up_b = p.add("up.bias", {kHidden}, Init::zeros());
    const Tensor down = p.add("down.weight", {kC, kHidden}, Init::normal(0.2f));
    const Tensor down_b = p.add("down.bias", {kC}, Init::zeros());
    p.initialise(7);
    hash_before = p.hash();
    const Tensor all = random(r, {kLeaves * kSamplesPerLeaf * kRows, kC}, 50);
    GradientAccumulator sum(r, kLeaves);
    for (int leaves : micro_batches) {
      const int64_t first = sum.next_leaf() * kSamplesPerLeaf, samples = leaves * kSamplesPerLeaf;
      const Tensor x = all.slice(0, first * kRows, samples * kRows);
      Tape tape(r, {.leaves = leaves, .first_sample = uint64_t(first)});
      p.watch(tape);
      const auto block = [=](Tape& t) {
        const Tensor n = t.apply(LayerNorm{}, x, gain, shift);
        return t.apply(Add{}, x, t.apply(Linear{}, t.apply(Gelu{}, t.apply(Linear{}, n, up, up_b)), down, down_b));
      };
      const Tensor y = checkpoint ? tape.checkpoint(block) : block(tape);
      tape.backward(y, x);
      const Bits b = bits_of(y);
      outputs.push_back(b);
      sum.add(p.gradients(tape));
    }
    Net::Result total;
    total.parameters = sum.finish();
    parameters = parameter_bits(total);
  }
};

TEST(Tape, APerceptronHasTheSameBitsHoweverItIsRun) {
  Runtime one({.threads = 1}), two({.threads = 2});
  const Perceptron whole(one, {4}, false);
  EXPECT_EQ(whole.parameters.size(), size_t{2 * 40 + 70 * 40 + 70 + 40 * 70 + 40});
  for (Runtime* r : {&one, &two})
    for (bool checkpoint : {false, true}) {
      const Perceptron same(*r, {4}, checkpoint), parts(*r, {1, 2, 1}, checkpoint);
      EXPECT_EQ(same.hash_before, whole.hash_before);
      EXPECT_EQ(same.outputs, whole.outputs);
      EXPECT_EQ(same.parameters, whole.parameters);
      EXPECT_EQ(parts.parameters, whole.parameters);
      Bits joined;
      for (const Bits& b : parts.outputs) joined.insert(joined.end(), b.begin(), b.end());
      EXPECT_EQ(joined, whole.outputs[0]);
    }
}

TEST(Tape, LeavesDefineTheSum) {
  Runtime r({.threads = 1});
  Net one{.samples = 8, .leaves = 1}, four{.samples = 8, .leaves = 4};
  EXPECT_EQ(one.run(r).parameters[0].sizes(), (Sizes{1, 33}));
  EXPECT_EQ(four.run(r).parameters[0].sizes(), (Sizes{4, 33}));
  EXPECT_TRUE(one.run(r) == four.run(r)) << "outputs and input gradients do not depend on leaves";
}

TEST(Tape, SlicesOfAParameterKeepItsLeaves) {
  Runtime r({.threads = 1});
  const Tensor w = random(r, {10}, 1), x = random(r, {4, 5}, 2), dy = random(r, {4, 5}, 3);
  Tape tape(r, {.leaves = 2});
  tape.watch(w);
  tape.backward(tape.apply(Gain{}, x, tape.slice(w, 0, 5, 5)), dy);
  const Tensor g = tape.gradient(w);
  ASSERT_EQ(g.sizes(), (Sizes{2, 10}));
  Tape whole(r, {.leaves = 2});
  const Tensor upper = w.slice(0, 5, 5).clone();
  whole.watch(upper);
  whole.backward(whole.apply(Gain{}, x, upper), dy);
  EXPECT_EQ(bits_of(g.slice(1, 5, 5)), bits_of(whole.gradient(upper)));
  EXPECT_EQ(g.slice(1, 0, 5).floats(), std::vector<float>(10, 0.f));
}

TEST(Tape, ABlockMayReturnSeveralTensorsAndItsInputs) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {4, 6}, 1), dy = random(r, {2, 6}, 2);
  const auto gradient = [&](bool checkpoint) {
    Tape tape(r);
    tape.watch(x);
    const Tensor h = tape.apply(Jitter{}, x);
    const auto block = [h](Tape& t) {
      const Tensor top = t.slice(h, 0, 0, 2);
      return std::vector<Tensor>{t.apply(Product{}, top, t.slice(h, 0, 2, 2)), top, h};
    };
    const std::vector<Tensor> out = checkpoint ? tape.checkpoint(block) : block(tape);
    const Tensor bottom = tape.slice(out[2], 0, 2, 2);  // also made inside the block
    tape.backward(tape.apply(Add{}, tape.apply(Product{}, out[0], out[1]), bottom), dy);
    EXPECT_EQ(tape.calls(), 4u);
    return bits_of(tape.gradient(x));
  };
  EXPECT_EQ(gradient(true), gradient(false));
}

TEST(Tape, RecordsNothingWithoutGradients) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {64, 64}, 1);
  Tape tape(r, {.gradients = false});
  tape.watch(x);
  const size_t before = r.arena()->stats().live;
  Tensor h = x;
  for (int i = 0; i < 10; i++) h = tape.apply(Jitter{}, h);
  EXPECT_FALSE(tape.needs_gradient(h));
  EXPECT_EQ(r.arena()->stats().live - before, x.view().bytes()) << "only the last result is alive";
}

TEST(Tape, RefusesWhatItCannotFollow) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {4, 6}, 1), w = random(r, {1, 6}, 2);
  Tape tape(r);
  tape.watch(x);
  tape.watch(w);
  EXPECT_TRUE(refuses([&] { tape.apply(Jitter{}, x.slice(0, 0, 2)); }, "use Tape::slice"));
  const Tensor computed = tape.reshape(tape.apply(Jitter{}, w), {6});
  EXPECT_TRUE(refuses([&] { tape.apply(Gain{}, x, computed); }, "gain shares w between samples"));
  EXPECT_TRUE(refuses([&] { tape.watch(computed); }, "cannot be watched"));
  EXPECT_TRUE(refuses([&] { tape.seed(random(r, {4, 6}, 3), x); }, "depends on no watched tensor"));
  const Tensor y = tape.apply(Jitter{}, x);
  EXPECT_TRUE(refuses([&] { tape.seed(y, w); }, "cannot be"));
  EXPECT_TRUE(refuses([&] { (void)tape.gradient(x); }, "before backward"));
  int runs = 0;
  Tape second(r);
  second.watch(x);
  const Tensor z = second.checkpoint(
      [&runs, x](Tape& t) { return runs++ ? t.apply(Jitter{}, t.apply(Jitter{}, x)) : t.apply(Jitter{}, x); });
  EXPECT_TRUE(refuses([&] { second.backward(z, x); }, "applied 1 ops first and 2"));
}

}  // namespace
}  // namespace dr::test
