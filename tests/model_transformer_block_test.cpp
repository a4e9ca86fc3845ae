// The transformer block on a tape: its value and gradients against the same function in double, and its bits.

#include <gtest/gtest.h>

#include <numbers>

#include "kernels/adaln/adaln.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rotary_table/rotary_table.h"
#include "kernels/silu/silu.h"
#include "model/transformer_block.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

using Bits = std::vector<uint32_t>;
using Doubles = std::vector<double>;

Doubles wide(const std::vector<float>& v) { return {v.begin(), v.end()}; }

struct Shape {
  int64_t batch = 2, frames = 4, tokens = 3, channels = 8, heads = 2, hidden = 12;
  Norm norm = Norm::layer;
  FrameMask mask() const { return {.tokens_per_frame = int(tokens), .anchors = 1, .window = 1}; }
  int64_t length() const { return frames * tokens; }
  int64_t width() const { return channels / heads; }
};

// Everything a step reads and gives.
struct Step {
  Shape s;
  Runtime& runtime;
  Parameters parameters;
  TransformerBlock block;
  Tensor x, condition, cos, sin, dy;
  Tensor y, dx, dcondition;
  size_t kept = 0;  // bytes held between forward and backward, beside what was there before
  std::vector<Tensor> gradients;

  Step(Runtime& r, const Shape& shape, int64_t first_sample = 0)
      : s(shape), runtime(r), parameters(r),
        block(parameters, "block",
              {.channels = s.channels, .heads = s.heads, .hidden = s.hidden, .norm = s.norm, .mask = s.mask()}) {
    for (const Parameter& p : parameters) {  // random biases and gates too, so that nothing vanishes
      std::vector<float> v = numbers(p.value.count(), p.op_id);
      for (float& f : v) f = p.name.ends_with("norm.weight") ? 1 + 0.5f * f : 0.4f * f;
      p.value.copy_from(std::span<const float>(v));
    }
    const auto rows = [&](Sizes sizes, uint32_t id) {  // data of a sample are the same whatever the batch
      sizes[0] = 4;
      return random(r, sizes, id).slice(0, first_sample, s.batch).clone();
    };
    x = rows({0, s.length(), s.channels}, 1);
    condition = rows({0, s.frames, s.channels}, 2);
    dy = rows({0, s.length(), s.channels}, 3);
    std::vector<int32_t> place;
    for (int64_t i = 0; i < s.batch * s.length(); i++)
      place.insert(place.end(), {int32_t(i % s.length() / s.tokens), int32_t(i % s.tokens)});
    const Tensor position = r.from(place, {s.batch, s.length(), 2});
    const int half = int(s.width() / 2);
    const auto table = evaluate_all(r, RotaryTable{.share = {half - half / 2, half / 2}, .base = 20}, position);
    cos = table[0], sin = table[1];
  }

  Step& run(int leaves = 1, int64_t from = 0, bool keep_hidden = true) {
    const ArenaStats& memory = runtime.arena()->stats();
    const size_t before = memory.live;
    Tape tape(runtime, {.leaves = leaves});
    parameters.watch(tape);
    tape.watch(x);
    tape.watch(condition);
    const Tensor m = block.modulation(tape, tape.reshape(condition, {s.batch * s.frames, s.channels}));
    y = block.apply_modulated(tape, x, m, cos, sin, 0, from, keep_hidden);
    kept = memory.live - before;
    tape.backward(y, dy.slice(1, 0, y.size(1)));
    dx = tape.gradient(x), dcondition = tape.gradient(condition);
    gradients = parameters.gradients(tape);
    return *this;
  }
  Bits bits() const {
    Bits all;
    std::vector<Tensor> list{y, dx, dcondition};
    list.insert(list.end(), gradients.begin(), gradients.end());
    for (const Tensor& t : list) {
      const Bits b = bits_of(t);
      all.insert(all.end(), b.begin(), b.end());
    }
    return all;
  }
};

// ---- the block in double, by the letter of its contract ----

// y = x w^T + b for one row
Doubles linear(const double* x, const Doubles& w, const Doubles& b) {
  Doubles y = b;
  const size_t k = w.size() / b.size();
  for (size_t n = 0; n < b.size(); n++)
    for (size_t i = 0; i < k; i++) y[n] += x[i] * w[n * k + i];
  return y;
}

Doubles modulated(const double* x, size_t c, Norm norm, double eps, const double* shift, const double* scale) {
  double mean = 0, square = 0;
  for (size_t i = 0; i < c; i++) mean += norm == Norm::layer ? x[i] / double(c) : 0;
  for (size_t i = 0; i < c; i++) square += (x[i] - mean) * (x[i] - mean) / double(c);
  Doubles y(c);
  for (size_t i = 0; i < c; i++) y[i] = (x[i] - mean) / std::sqrt(square + eps) * (1 + scale[i]) + shift[i];
  return y;
}

struct InDouble {
  Shape s;
  Doubles x, condition, cos, sin;
  std::vector<Doubles> p;  // modulation, qkv, (q_norm, k_norm), out, up, down, in the order of creation

  Doubles operator()() const {
    const size_t c = size_t(s.channels), d = size_t(s.width()), length = size_t(s.length());
    Doubles result;
    for (size_t b = 0; b < size_t(s.batch); b++) {
      std::vector<Doubles> m, q, k, v;
      for (size_t f = 0; f < size_t(s.frames); f++) {
        Doubles act(c);
        for (size_t i = 0; i < c; i++) {
          const double u = condition[(b * size_t(s.frames) + f) * c + i];
          act[i] = u / (1 + std::exp(-u));
        }
        m.push_back(linear(act.data(), p[0], p[1]));
      }
      const auto part = [&](size_t t, size_t i) { return m[t / size_t(s.tokens)].data() + i * c; };
      const double* const xs = x.data() + b * length * c;
      for (size_t t = 0; t < length; t++) {
        const Doubles n = modulated(xs + t * c, c, s.norm, double(1e-6f), part(t, 0), part(t, 1));
        const Doubles qkv = linear(n.data(), p[2], p[3]);
        q.emplace_back(qkv.begin(), qkv.begin() + long(c));
        k.emplace_back(qkv.begin() + long(c), qkv.begin() + long(2 * c));
        v.emplace_back(qkv.begin() + long(2 * c), qkv.end());
        const auto turn = [&](Doubles& row, const Doubles& weight) {
          for (size_t h = 0; h < size_t(s.heads); h++) {
            double* const head = row.data() + h * d;
            double square = 0;
            for (size_t i = 0; i < d; i++) square += head[i] * head[i] / double(d);
            for (size_t i = 0; i < d; i++) head[i] *= weight[i] / std::sqrt(square + double(1e-5f));
            for (size_t i = 0; i < d / 2; i++) {
              const size_t at = (b * length + t) * (d / 2) + i;
              const double first = head[i], second = head[i + d / 2];
              head[i] = first * cos[at] - second * sin[at];
              head[i + d / 2] = second * cos[at] + first * sin[at];
            }
          }
        };
        turn(q.back(), p[4]);
        turn(k.back(), p[5]);
      }
      for (size_t t = 0; t < length; t++) {
        Doubles a(c);
        for (size_t h = 0; h < size_t(s.heads); h++) {
          Doubles e(length);
          double sum = 0;
          const int64_t own = int64_t(t) / s.tokens;
          for (size_t u = 0; u < length; u++) {
            const int64_t seen = int64_t(u) / s.tokens;
            const bool visible = own == 0 ? seen == 0 : seen == 0 || seen == own || seen == own - 1;
            double score = 0;
            for (size_t i = 0; i < d; i++) score += q[t][h * d + i] * k[u][h * d + i] / std::sqrt(double(d));
            sum += e[u] = visible ? std::exp(score) : 0;
          }
          for (size_t u = 0; u < length; u++)
            for (size_t i = 0; i < d; i++) a[h * d + i] += e[u] / sum * v[u][h * d + i];
        }
        const Doubles o = linear(a.data(), p[6], p[7]);
        Doubles h1(c);
        for (size_t i = 0; i < c; i++) h1[i] = xs[t * c + i] + part(t, 2)[i] * o[i];
        Doubles up = linear(modulated(h1.data(), c, s.norm, double(1e-6f), part(t, 3), part(t, 4)).data(), p[8], p[9]);
        for (double& u : up) u = u / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (u + 0.044715 * u * u * u)));
        const Doubles down = linear(up.data(), p[10], p[11]);
        for (size_t i = 0; i < c; i++) result.push_back(h1[i] + part(t, 5)[i] * down[i]);
      }
    }
    return result;
  }
};

class TransformerBlockNorms : public testing::TestWithParam<Norm> {};

TEST_P(TransformerBlockNorms, GradientMatchesCentralDifferencesInDouble) {
  Runtime r({.threads = 1});
  Step step(r, {.norm = GetParam()});
  step.run();
  InDouble f{step.s, wide(step.x.floats()), wide(step.condition.floats()), wide(step.cos.floats()),
             wide(step.sin.floats()), {}};
  for (const Parameter& p : step.parameters) f.p.push_back(wide(p.value.floats()));

  const Doubles y = f(), dy = wide(step.dy.floats()), got = wide(step.y.floats());
  ASSERT_EQ(y.size(), got.size());
  for (size_t i = 0; i < y.size(); i++) EXPECT_LE(std::fabs(y[i] - got[i]), 1e-5 * (1 + std::fabs(y[i]))) << i;

  const auto objective = [&] {
    const Doubles out = f();
    double sum = 0;
    for (size_t i = 0; i < out.size(); i++) sum += out[i] * dy[i];
    return sum;
  };
  const auto compare = [&](Doubles& at, const Tensor& gradient, const std::string& name) {
    const Doubles g = wide(gradient.floats());
    ASSERT_EQ(at.size(), g.size()) << name;
    double largest = 0;
    std::vector<std::pair<double, double>> list;
    for (size_t i = 0; i < at.size(); i++) {
      const double before = at[i], h = 1e-5;
      at[i] = before + h;
      const double above = objective();
      at[i] = before - h;
      list.emplace_back(g[i], (above - objective()) / (2 * h));
      at[i] = before;
      largest = std::max(largest, std::fabs(list.back().second));
    }
    EXPECT_GT(largest, 1e-3) << name << ": the test says nothing where gradients vanish";
    for (size_t i = 0; i < list.size(); i++)
      EXPECT_LE(std::fabs(list[i].first - list[i].second), 2e-5 * largest) << name << " " << i;
  };
  compare(f.x, step.dx, "x");
  compare(f.condition, step.dcondition, "condition");
  for (size_t i = 0; i < f.p.size(); i++) compare(f.p[i], step.gradients[i], step.parameters[i].name);
}

INSTANTIATE_TEST_SUITE_P(All, TransformerBlockNorms, testing::Values(Norm::layer, Norm::rms),
                         [](const auto& info) { return info.param == Norm::layer ? "layer" : "rms"; });

TEST(TransformerBlock, ThreadsAndInstructionSetsChangeNoBit) {
  const Shape shape{.frames = 5, .tokens = 7, .channels = 40, .heads = 2, .hidden = 70};
  Runtime one({.threads = 1});
  const Bits expected = Step(one, shape).run(2).bits();
  for (int threads : {2, 3}) {
    Runtime r({.threads = threads});
    EXPECT_EQ(Step(r, shape).run(2).bits(), expected) << threads;
  }
  for (const char* isa : {"avx512", "avx2", "portable"}) {
    try {
      (void)best_cpu_backend(isa);
    } catch (const Error&) {
      continue;  // not built, or not run by this processor
    }
    Runtime r({.cpu_isa = isa, .threads = 2});
    EXPECT_EQ(Step(r, shape).run(2).bits(), expected) << isa;
  }
}

TEST(TransformerBlock, ASampleAloneHasTheSameBits) {
  Runtime r({.threads = 2});
  const Shape two{.batch = 2, .frames = 3, .tokens = 5, .channels = 24, .heads = 3, .hidden = 50};
  Shape one = two;
  one.batch = 1;
  Step both(r, two);
  both.run(2);
  for (int64_t b = 0; b < 2; b++) {
    Step alone(r, one, b);
    alone.run(1);
    EXPECT_EQ(bits_of(alone.y), bits_of(both.y.slice(0, b, 1)));
    EXPECT_EQ(bits_of(alone.dx), bits_of(both.dx.slice(0, b, 1)));
    EXPECT_EQ(bits_of(alone.dcondition), bits_of(both.dcondition.slice(0, b, 1)));
    for (size_t i = 0; i < alone.gradients.size(); i++)
      EXPECT_EQ(bits_of(alone.gradients[i]), bits_of(both.gradients[i].slice(0, b, 1))) << alone.parameters[i].name;
  }
}

// The block from ops that each do one thing: the same bits, forward and backward.
TEST(TransformerBlock, EqualsItsPartsInTurn) {
  Runtime r({.threads = 2});
  const Shape s{.batch = 2, .frames = 5, .tokens = 7, .channels = 40, .heads = 2, .hidden = 70};
  Step fused(r, s);
  fused.run(2);

  Step parts(r, s);
  Tape tape(r, {.leaves = 2});
  parts.parameters.watch(tape);
  tape.watch(parts.x);
  tape.watch(parts.condition);
  const auto p = [&](const char* name) { return parts.parameters.at(format("block.{}", name)).value; };
  const int64_t c = s.channels, rows = s.batch * s.length();
  const Tensor act = tape.apply(Silu{}, tape.reshape(parts.condition, {s.batch * s.frames, c}));
  const Tensor m = tape.apply(Linear{}, act, p("modulation.weight"), p("modulation.bias"));
  const auto modulation = [&](int64_t i) { return tape.slice(m, 1, i * c, c); };
  const Tensor h = tape.reshape(parts.x, {rows, c});
  const Tensor n1 = tape.apply(AdaLN{}, h, modulation(0), modulation(1));
  const Tensor qkv = tape.reshape(tape.apply(Linear{}, n1, p("attention.qkv.weight"), p("attention.qkv.bias")),
                                  {s.batch, s.length(), 3, s.heads, s.width()});
  const auto heads = [&](int64_t i) {
    return tape.reshape(tape.slice(qkv, 2, i, 1), {s.batch, s.length(), s.heads, s.width()});
  };
  // RmsNorm takes rows evenly apart; those of a slice of qkv are not. Adding zero copies them.
  const auto turned = [&](int64_t i, const char* weight) {
    const Tensor x = tape.apply(Add{}, heads(i), r.zeros(DType::f32, heads(i).sizes()));
    const Tensor n = tape.apply(RmsNorm{}, tape.reshape(x, {rows * s.heads, s.width()}), p(weight));
    return tape.apply(Rotary{}, tape.reshape(n, heads(i).sizes()), parts.cos, parts.sin);
  };
  const Tensor q = turned(0, "attention.q_norm.weight"), k = turned(1, "attention.k_norm.weight");
  const Tensor a = tape.apply(Attention{.mask = s.mask()}, q, k, heads(2));
  const Tensor h1 = tape.apply(LinearGatedResidual{}, tape.reshape(a, {rows, c}), p("attention.out.weight"),
                               p("attention.out.bias"), modulation(2), h);
  const Tensor n2 = tape.apply(AdaLN{}, h1, modulation(3), modulation(4));
  const Tensor up = tape.apply(LinearGelu{}, n2, p("mlp.up.weight"), p("mlp.up.bias"));
  parts.y = tape.reshape(
      tape.apply(LinearGatedResidual{}, up, p("mlp.down.weight"), p("mlp.down.bias"), modulation(5), h1),
      parts.x.sizes());
  tape.backward(parts.y, parts.dy);
  parts.dx = tape.gradient(parts.x), parts.dcondition = tape.gradient(parts.condition);
  parts.gradients = parts.parameters.gradients(tape);
  EXPECT_EQ(fused.bits(), parts.bits());
}

TEST(TransformerBlock, KeepingLessChangesNoBit) {
  Runtime r({.threads = 2});
  const Shape s{.batch = 1, .frames = 5, .tokens = 64, .channels = 128, .heads = 4, .hidden = 512};
  for (const int64_t from : {0, 2}) {
    Step all(r, s), less(r, s);
    EXPECT_EQ(all.run(1, from).bits(), less.run(1, from, false).bits());
    EXPECT_LT(double(less.kept), (from ? 0.7 : 0.55) * double(all.kept)) << less.kept << " of " << all.kept << " bytes";
  }
}

TEST(TransformerBlock, IsTheIdentityAtFirst) {
  Runtime r({.threads = 1});
  Step step(r, {});
  step.parameters.initialise(7);
  EXPECT_EQ(bits_of(step.run().y), bits_of(step.x));
}

TEST(TransformerBlock, RefusesWhatDoesNotFit) {
  Runtime r({.threads = 1});
  Step step(r, {});
  Tape tape(r);
  EXPECT_TRUE(
      refuses([&] { step.block.apply(tape, step.condition, step.x, step.cos, step.sin); }, "frames in 4 tokens"));
  Parameters p(r);
  EXPECT_TRUE(refuses([&] { TransformerBlock(p, "b", {.channels = 10, .heads = 3}); }, "do not divide into 3 heads"));
}

}  // namespace
}  // namespace dr::test
