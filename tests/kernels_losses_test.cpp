// Losses: what their formulas imply, derived here from the formulas and not from the kernels or their references. Fused
// losses equal their parts bit for bit, weights and probabilities sum to one.

#include <cmath>
#include <limits>

#include "kernels/bernoulli_nll/bernoulli_nll.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/laplace_nll/laplace_nll.h"
#include "kernels/mhp_laplace/mhp_laplace.h"
#include "kernels/smooth_l1/smooth_l1.h"
#include "kernels/symlog/symlog.h"
#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"
#include "kernels/two_hot_mean/two_hot_mean.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

constexpr float kMax = std::numeric_limits<float>::max();

// A column: one row for each value.
Tensor rows(std::vector<float> values) {
  const int64_t n = int64_t(values.size());
  return Tensor({n, 1}, std::move(values));
}

class Losses : public KernelTest {
 protected:
  Losses() : KernelTest(1 << 20) {}
};

// ---- Laplace ----

struct LaplaceResult {
  Tensor loss, dmean, dscale;
};
// Every element a row of its own, dloss = 1.
LaplaceResult laplace(Context& ctx, const LaplaceNll& op, const std::vector<float>& mean,
                      const std::vector<float>& log_scale, const std::vector<float>& target) {
  Tensor m = rows(mean), s = rows(log_scale), t = rows(target), one = filled({m.count()}, 1);
  LaplaceResult r{unwritten({m.count()}), unwritten(m.view.sizes), unwritten(m.view.sizes)};
  run_forward(ctx, op, {m.view, s.view, t.view, {}}, {r.loss.view});
  run_backward(ctx, op, {m.view, s.view, t.view, {}}, {r.loss.view}, {one.view}, {r.dmean.view, r.dscale.view});
  return r;
}

TEST_P(Losses, LaplaceNllAtKnownPoints) {
  const float log_two = float(std::log(2.0));
  const std::vector<float> mean{0, 1, -1, 3, 0.5f, 2}, log_scale{0, 0, 0, log_two, -20, -20},
      target{0, 0, 0, 1, 0.5f, 1};
  const double ln2 = std::log(2.0);  // log 2b + |e| / b; the last two rows have the floor's scale exp(-7)
  const double expected[] = {ln2, 1 + ln2, 1 + ln2, 1 + std::log(4.0), ln2 - 7, ln2 - 7 + std::exp(7.0)};
  const LaplaceResult r = laplace(ctx_, {}, mean, log_scale, target);
  for (int64_t i = 0; i < 6; i++)
    expect_within(r.loss[i], expected[i], 4 * u * (8 + std::fabs(expected[i])), "loss of row " + std::to_string(i));
  for (int64_t i : {0, 4}) EXPECT_EQ(r.dmean[i], 0.f) << "at the kink";
  EXPECT_EQ(r.dmean[1], 1.f);
  EXPECT_EQ(r.dmean[2], -1.f);
  expect_within(r.dmean[3], 0.5, 2 * u, "1 / b");
  expect_within(r.dmean[5], std::exp(7.0), 2 * u * 1100, "1 / b at the floor");
  EXPECT_EQ(r.dscale[0], 1.f);  // d log 2b
  for (int64_t i : {1, 2}) EXPECT_EQ(r.dscale[i], 0.f) << "the likeliest scale is |e|";
  for (int64_t i : {4, 5}) EXPECT_EQ(r.dscale[i], 0.f) << "below the floor";
}

// exp(-nll) is a density. Sampled in steps of h its sum is (h / 2b) coth(h / 2b), a geometric series.
TEST_P(Losses, LaplaceDensityIntegratesToOne) {
  const double h = 1.0 / 64;
  std::vector<float> targets;
  for (int i = -64 * 60; i <= 64 * 60; i++) targets.push_back(float(i) / 64);
  for (float s : {-1.f, 0.f, 0.75f}) {
    const std::vector<float> mean(targets.size(), 0.f), scale(targets.size(), s);
    const LaplaceResult r = laplace(ctx_, {}, mean, scale, targets);
    double integral = 0;
    for (float nll : r.loss.data) integral += h * std::exp(-double(nll));
    const double step = h / (2 * std::exp(double(s)));
    expect_within(integral, step / std::tanh(step), 1e-5, "the integral for s = " + std::to_string(s));
  }
}

// ---- multiple hypotheses ----

TEST_P(Losses, MhpLaplaceIsLaplaceNllOfTheWinnerAndCrossEntropyAgainstIt) {
  const int64_t batch = 13, guesses = 5, width = 495;
  Tensor mean({batch, guesses, width}, 1, 2), scale(mean.view.sizes, 2), logits({batch, guesses}, 3, 4),
      target({batch, width}, 4, 2), weight({batch, width}, 5), dloss({batch}, 6);
  for (float& w : weight.data) w = std::fabs(w);
  for (int64_t i = 0; i < weight.count(); i += 3) weight[i] = 0, target[i] = kNan;  // not known
  Tensor known = target;
  for (float& t : known.data) t = std::isnan(t) ? 0 : t;
  for (bool weighted : {false, true})
    for (float nll_scale : {1.f, 1.f / float(width)}) {
      const View t = weighted ? target.view : known.view, w = weighted ? weight.view : View{};
      const MhpLaplace op{.nll_scale = nll_scale, .min_log_scale = -0.9f};
      const MhpLaplace::In in{mean.view, scale.view, logits.view, t, w};
      Tensor loss({batch}), nll({batch}), ce({batch}), dmean = unwritten(mean.view.sizes),
          dscale = unwritten(mean.view.sizes), dlogits = unwritten(logits.view.sizes);
      Indices winner({batch});
      const MhpLaplace::Out out{loss.view, winner.view, nll.view, ce.view};
      run_forward(ctx_, op, in, out);
      run_backward(ctx_, op, in, out, {dloss.view}, {dmean.view, dscale.view, dlogits.view});

      Indices nearest({batch});
      Tensor best_mean({batch, width}), best_scale({batch, width}), parts_dloss({batch});
      for (int64_t b = 0; b < batch; b++) {
        double least = std::numeric_limits<double>::infinity();
        for (int64_t k = 0; k < guesses; k++) {
          double distance = 0;
          for (int64_t i = 0; i < width; i++) {
            const double e = std::fabs(double(mean[(b * guesses + k) * width + i]) - double(known[b * width + i]));
            distance += (weighted ? double(weight[b * width + i]) : 1) * e;
          }
          if (distance < least) least = distance, nearest[b] = int32_t(k);
        }
        for (int64_t i = 0; i < width; i++) {
          best_mean[b * width + i] = mean[(b * guesses + nearest[b]) * width + i];
          best_scale[b * width + i] = scale[(b * guesses + nearest[b]) * width + i];
        }
        parts_dloss[b] = dloss[b] * nll_scale;
      }
      EXPECT_EQ(winner.data, nearest.data);

      const LaplaceNll laplace_op{.min_log_scale = op.min_log_scale};
      const LaplaceNll::In laplace_in{best_mean.view, best_scale.view, t, w};
      Tensor nll2({batch}), ce2({batch}), max({batch}), den({batch}), loss2({batch}), dbest(best_mean.view.sizes),
          dbest_scale(best_mean.view.sizes), dmean2(mean.view.sizes), dscale2(mean.view.sizes),
          dlogits2(logits.view.sizes);
      run_forward(ctx_, laplace_op, laplace_in, {nll2.view});
      run_backward(ctx_, laplace_op, laplace_in, {nll2.view}, {parts_dloss.view}, {dbest.view, dbest_scale.view});
      const CrossEntropy::Out ce_out{ce2.view, max.view, den.view};
      run_forward(ctx_, CrossEntropy{}, {logits.view, nearest.view}, ce_out);
      run_backward(ctx_, CrossEntropy{}, {logits.view, nearest.view}, ce_out, {dloss.view}, {dlogits2.view});
      for (int64_t b = 0; b < batch; b++) {
        loss2[b] = nll_scale * nll2[b] + ce2[b];
        for (int64_t i = 0; i < width; i++) {
          dmean2[(b * guesses + nearest[b]) * width + i] = dbest[b * width + i];
          dscale2[(b * guesses + nearest[b]) * width + i] = dbest_scale[b * width + i];
        }
      }
      expect_same_bits(nll, nll2, "nll");
      expect_same_bits(ce, ce2, "cross-entropy");
      expect_same_bits(loss, loss2, "loss");
      expect_same_bits(dmean, dmean2, "dmean, +0 but for the winner's");
      expect_same_bits(dscale, dscale2, "dlog_scale, +0 but for the winner's");
      expect_same_bits(dlogits, dlogits2, "dlogits");
    }
}

// Nearest by the sum of absolute errors: neither by squares, by likelihood nor by logits. Ties go to the first.
TEST_P(Losses, MhpWinnerIsTheFirstOfTheNearest) {
  struct Row {
    std::vector<float> errors;  // of four guesses, two elements each
    int32_t winner;
  };
  const std::vector<Row> list = {{{2, 2, 3, 0, 5, 5, 4, 1}, 1},    // L1 4 3 10 5, squares 8 9 50 17
                                 {{3, 1, 2, -1, -1, 2, 0, 3}, 1},  // 4 3 3 3
                                 {{7, 0, 6, 1, 5, 2, 4, 3}, 0},    // 7 7 7 7
                                 {{9, 9, 9, 9, 9, 9, 1, 0}, 3},
                                 {{0, 0, 0, 0, 0, 0, 0, 0}, 0}};
  const int64_t batch = int64_t(list.size());
  Tensor mean({batch, 4, 2}), scale({batch, 4, 2}), logits({batch, 4}), target({batch, 2}, 7, 8);
  for (float& t : target.data) t = std::round(t);  // so that the errors are exact
  for (int64_t b = 0; b < batch; b++)
    for (int64_t k = 0; k < 4; k++) {
      logits[b * 4 + k] = float(k) - (k == list[size_t(b)].winner ? 9.f : 0.f);
      for (int64_t i = 0; i < 2; i++) {
        mean[(b * 4 + k) * 2 + i] = target[b * 2 + i] + list[size_t(b)].errors[size_t(k * 2 + i)];
        scale[(b * 4 + k) * 2 + i] = k == list[size_t(b)].winner ? -3.f : 1.f;
      }
    }
  Tensor loss({batch}), nll({batch}), ce({batch});
  Indices winner({batch});
  run_forward(ctx_, MhpLaplace{}, {mean.view, scale.view, logits.view, target.view, {}},
              {loss.view, winner.view, nll.view, ce.view});
  for (int64_t b = 0; b < batch; b++) EXPECT_EQ(winner[b], list[size_t(b)].winner) << "row " << b;
}

// ---- classes ----

struct ClassLoss {
  Tensor loss, max, den, dlogits;
};
ClassLoss cross_entropy(Context& ctx, const Tensor& logits, const View& target, const Tensor& dloss) {
  const int64_t n = logits.view.size(0);
  ClassLoss r{unwritten({n}), unwritten({n}), unwritten({n}), unwritten(logits.view.sizes)};
  const CrossEntropy::Out out{r.loss.view, r.max.view, r.den.view};
  run_forward(ctx, CrossEntropy{}, {logits.view, target}, out);
  run_backward(ctx, CrossEntropy{}, {logits.view, target}, out, {dloss.view}, {r.dlogits.view});
  return r;
}

TEST_P(Losses, CrossEntropyIgnoresAShiftOfTheLogits) {
  const int64_t n = 40, classes = 39;
  Tensor logits({n, classes}, 8, 8), dloss({n}, 9);
  Indices target({n});
  for (int64_t r = 0; r < n; r++) target[r] = int32_t(r % classes);
  for (float& x : logits.data) x = std::round(256 * x) / 256;  // so that the shifts below are exact
  const ClassLoss plain = cross_entropy(ctx_, logits, target.view, dloss);
  for (float shift : {3.f, -512.f, 8192.f}) {
    Tensor shifted = logits;
    for (float& x : shifted.data) x += shift;
    const ClassLoss moved = cross_entropy(ctx_, shifted, target.view, dloss);
    expect_same_bits(plain.loss, moved.loss, "loss");
    expect_same_bits(plain.dlogits, moved.dlogits, "dlogits");
    for (int64_t r = 0; r < n; r++) EXPECT_EQ(moved.max[r], plain.max[r] + shift);
  }
}

// Equal logits: log C, and 1 / C more or less one. One far above the others: 0 for it, the distance for the others.
TEST_P(Losses, CrossEntropyOfTheFirstAndTheLastClass) {
  for (int64_t classes : {1, 2, 16, 17, 33, 255}) {
    Tensor one = filled({2}, 1);
    Indices target({2}, std::vector<int32_t>{0, int32_t(classes - 1)});
    const ClassLoss equal = cross_entropy(ctx_, filled({2, classes}, -1.5f), target.view, one);
    for (int64_t r = 0; r < 2; r++) {
      EXPECT_EQ(equal.loss[r], float(std::log(double(classes))));
      for (int64_t c = 0; c < classes; c++)
        ASSERT_EQ(equal.dlogits[r * classes + c], 1.f / float(classes) - float(c == target[r])) << c;
    }
    if (classes == 1) continue;
    Tensor peaked({2, classes});
    peaked[0] = peaked[classes] = 200;  // class 0 of either row
    const ClassLoss far = cross_entropy(ctx_, peaked, target.view, one);
    EXPECT_EQ(far.loss[0], 0.f);
    EXPECT_EQ(far.loss[1], 200.f);
    for (int64_t c = 0; c < classes; c++) {
      ASSERT_EQ(far.dlogits[c], 0.f);
      ASSERT_EQ(far.dlogits[classes + c], float(c == 0) - float(c == classes - 1));
    }
  }
}

TEST_P(Losses, OneHotWeightsGiveTheBitsOfTheClass) {
  const int64_t n = 33, classes = 33;
  Tensor logits({n, classes}, 10, 6), dloss({n}, 11), weights({n, classes});
  Indices target({n});
  for (int64_t r = 0; r < n; r++) target[r] = int32_t(r), weights[r * classes + r] = 1;
  const ClassLoss a = cross_entropy(ctx_, logits, target.view, dloss);
  const ClassLoss b = cross_entropy(ctx_, logits, weights.view, dloss);
  expect_same_bits(a.loss, b.loss, "loss");
  expect_same_bits(a.dlogits, b.dlogits, "dlogits");
}

// ---- Bernoulli ----

struct BernoulliResult {
  Tensor loss, slope;
};
BernoulliResult bernoulli(Context& ctx, const std::vector<float>& logits, float target) {
  Tensor x = rows(logits), t = filled(x.view.sizes, target), one = filled({x.count()}, 1);
  BernoulliResult r{unwritten({x.count()}), unwritten(x.view.sizes)};
  run_forward(ctx, BernoulliNll{}, {x.view, t.view, {}}, {r.loss.view});
  run_backward(ctx, BernoulliNll{}, {x.view, t.view, {}}, {r.loss.view}, {one.view}, {r.slope.view});
  return r;
}

TEST_P(Losses, BernoulliProbabilitiesSumToOne) {
  std::vector<float> x;
  for (int i = -160; i <= 160; i++) x.push_back(float(i) / 8);
  const BernoulliResult yes = bernoulli(ctx_, x, 1), no = bernoulli(ctx_, x, 0);
  for (int64_t i = 0; i < int64_t(x.size()); i++) {
    const double a = yes.loss[i], b = no.loss[i];  // each off by two roundings, and by log1p's and exp's
    expect_within(std::exp(-a) + std::exp(-b), 1, 4 * u * (a * std::exp(-a) + b * std::exp(-b) + 1), "the sum");
    expect_within(b - a, x[size_t(i)], 4 * u * (a + b), "the logit");
  }
}

TEST_P(Losses, BernoulliNllIsFiniteForLargeLogits) {
  const std::vector<float> x{200, -200, 1e4f, -1e4f, 1e30f, -1e30f, kMax, -kMax};
  for (float target : {0.f, 1.f}) {
    const BernoulliResult r = bernoulli(ctx_, x, target);
    for (int64_t i = 0; i < int64_t(x.size()); i++) {
      const bool right = (x[size_t(i)] > 0) == (target == 1);
      EXPECT_EQ(r.loss[i], right ? 0.f : std::fabs(x[size_t(i)]));
      EXPECT_EQ(r.slope[i], right ? 0.f : x[size_t(i)] > 0 ? 1.f : -1.f);
    }
  }
}

// The target of an episode that goes on is 1 - 1/333: the best logit is log 332, and the loss there the entropy.
TEST_P(Losses, BernoulliNllOfASoftTargetIsLeastAtItsLogit) {
  const double t = 1 - 1.0 / 333, best = std::log(332.0), entropy = -t * std::log(t) - (1 - t) * std::log(1 - t);
  const BernoulliResult r = bernoulli(ctx_, {float(best), float(best) - 1, float(best) + 1}, float(t));
  expect_within(r.loss[0], entropy, u * 2 * best + u * 8, "the entropy");  // the target's rounding times the logit
  expect_within(r.slope[0], 0, 4 * u, "the slope");
  EXPECT_LT(r.slope[1], 0.f);
  EXPECT_GT(r.slope[2], 0.f);
}

// ---- smooth L1 ----

TEST_P(Losses, SmoothL1MeetsAtItsJoint) {
  for (float beta : {0.25f, 1.f, 8.f}) {  // powers of two: all of this is exact
    const float inside = std::nextafterf(beta, 0.f);
    for (float sign : {1.f, -1.f}) {
      Tensor pred = rows({beta * sign, inside * sign, 0.5f * beta * sign, 2 * beta * sign, 0}),
             target({5, 1}), one = filled({5}, 1), loss = unwritten({5}), slope = unwritten({5, 1});
      const SmoothL1 op{.beta = beta};
      run_forward(ctx_, op, {pred.view, target.view, {}}, {loss.view});
      run_backward(ctx_, op, {pred.view, target.view, {}}, {loss.view}, {one.view}, {slope.view});
      EXPECT_EQ(loss[0], beta / 2);
      EXPECT_LE(loss[1], beta / 2);
      EXPECT_GE(loss[1], beta / 2 * (1 - 0x1p-22f));
      EXPECT_EQ(loss[2], beta / 8);
      EXPECT_EQ(loss[3], 1.5f * beta);
      EXPECT_EQ(loss[4], 0.f);
      EXPECT_EQ(slope.data, (std::vector<float>{sign, sign * (1 - 0x1p-24f), 0.5f * sign, sign, 0}));
    }
  }
  Tensor pred = rows({3, -3, 0, 1e-30f}), target({4, 1}), one = filled({4}, 1), loss = unwritten({4}),
      slope = unwritten({4, 1});
  const SmoothL1 absolute{.beta = 0};
  run_forward(ctx_, absolute, {pred.view, target.view, {}}, {loss.view});
  run_backward(ctx_, absolute, {pred.view, target.view, {}}, {loss.view}, {one.view}, {slope.view});
  EXPECT_EQ(loss.data, (std::vector<float>{3, 3, 0, 1e-30f}));
  EXPECT_EQ(slope.data, (std::vector<float>{1, -1, 0, 1}));
}

// ---- numbers spread over bins ----

Tensor run_symlog(Context& ctx, SymLogKind kind, const Tensor& x) {
  Tensor y = unwritten(x.view.sizes);
  run_forward(ctx, SymLog{kind}, {x.view}, {y.view});
  return y;
}

TEST_P(Losses, SymexpUndoesSymlog) {
  Tensor x({4000}, 12, 1);
  for (int64_t i = 0; i < x.count(); i++) x[i] = std::ldexp(x[i], int(i % 80) - 20);  // up to 2^59
  x[0] = 0, x[1] = -0.f;
  const Tensor y = run_symlog(ctx_, SymLogKind::symlog, x), back = run_symlog(ctx_, SymLogKind::symexp, y);
  Tensor mirrored = x;
  for (float& v : mirrored.data) v = -v;
  Tensor odd = run_symlog(ctx_, SymLogKind::symlog, mirrored);
  for (float& v : odd.data) v = -v;
  expect_same_bits(y, odd, "symlog(-x) = -symlog(x)");
  for (int64_t i = 0; i < x.count(); i++) {
    const double a = std::fabs(double(x[i])), slope = 1 + a;  // of symexp, there
    expect_within(back[i], x[i], 1.01 * u * (slope * std::log1p(a) + a), "symexp(symlog(x))");
  }
  const Tensor again = run_symlog(ctx_, SymLogKind::symlog, back);
  for (int64_t i = 0; i < x.count(); i++) {
    const double v = std::fabs(double(y[i]));
    expect_within(again[i], y[i], 1.01 * u * (-std::expm1(-v) + v), "symlog(symexp(y))");
  }
  const double e = std::exp(1.0);
  const Tensor known = run_symlog(ctx_, SymLogKind::symlog, rows({float(e - 1), float(1 - e), 1}));
  expect_within(known[0], 1, 2 * u, "symlog(e - 1)");
  expect_within(known[1], -1, 2 * u, "symlog(1 - e)");
  expect_within(known[2], std::log(2.0), u, "symlog(1)");
}

Tensor symexp_bins_tensor() { return Tensor({255}, symexp_bins()); }
// Evenly spaced from -20 to 20, for targets that went through symlog.
Tensor linear_bins() {
  Tensor bins({255});
  for (int64_t i = 0; i < 255; i++) bins[i] = float((double(i) - 127) * 20 / 127);
  return bins;
}

TEST_P(Losses, SymexpBinsAreSymexpOfEvenlySpacedNumbers) {
  const Tensor bins = symexp_bins_tensor(), y = linear_bins();
  for (int64_t i = 0; i < 255; i++) {
    EXPECT_EQ(bins[i], -bins[254 - i]);
    const double v = std::fabs((double(i) - 127) * 20 / 127), b = std::expm1(v);  // the exponent rounds twice
    expect_within(std::fabs(bins[i]), b, 1.01 * u * (b + 2 * v * (b + 1)), "bin " + std::to_string(i));
  }
}

// All kinds of targets: in the bins beside 0, on bins, far out, beyond the ends.
Tensor two_hot_targets(const Tensor& bins) {
  std::vector<float> list(bins.data);
  Tensor x({500}, 13);
  for (int64_t i = 0; i < x.count(); i++)
    list.push_back(i % 2 ? x[i] : std::copysign(float(std::expm1(21 * std::fabs(double(x[i])))), x[i]));
  for (float v : {1e9f, -1e9f, 1e30f, kInfinity, -kInfinity, kMax}) list.push_back(v);
  const int64_t n = int64_t(list.size());
  return Tensor({n}, std::move(list));
}

ClassLoss two_hot(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& bins, const Tensor& dloss) {
  const int64_t n = logits.view.size(0);
  ClassLoss r{unwritten({n}), unwritten({n}), unwritten({n}), unwritten(logits.view.sizes)};
  const TwoHotCrossEntropy::In in{logits.view, target.view, bins.view};
  const TwoHotCrossEntropy::Out out{r.loss.view, r.max.view, r.den.view};
  run_forward(ctx, TwoHotCrossEntropy{}, in, out);
  run_backward(ctx, TwoHotCrossEntropy{}, in, out, {dloss.view}, {r.dlogits.view});
  return r;
}

// The weights, as the gradient shows them: where one bin far from the target has the probability 1 and the others 0,
// dlogits = p - weight is -weight to the bit at the others.
Tensor two_hot_weights(Context& ctx, const Tensor& target, const Tensor& bins) {
  const int64_t n = target.count(), count = bins.count();
  Tensor logits({n, count}), one = filled({n}, 1);
  auto far = [&](int64_t r) { return r * count + (target[r] < 0 ? count - 1 : 0); };
  for (int64_t r = 0; r < n; r++) logits[far(r)] = 200;
  Tensor w = two_hot(ctx, logits, target, bins, one).dlogits;
  for (int64_t r = 0; r < n; r++) {
    EXPECT_EQ(w[far(r)], 1.f);
    w[far(r)] = 0;
  }
  for (float& v : w.data) v = -v;
  return w;
}

double mean_of(const Tensor& weights, const Tensor& bins, int64_t r) {
  double sum = 0;
  for (int64_t c = 0; c < bins.count(); c++) sum += double(weights[r * bins.count() + c]) * double(bins[c]);
  return sum;
}

TEST_P(Losses, TwoHotWeightsSumToOneAndKeepTheTarget) {
  for (const Tensor& bins : {symexp_bins_tensor(), linear_bins()}) {
    const Tensor target = two_hot_targets(bins), w = two_hot_weights(ctx_, target, bins);
    const int64_t count = bins.count();
    for (int64_t r = 0; r < target.count(); r++) {
      float sum = 0;
      std::vector<int64_t> used;
      double size = 0;
      for (int64_t c = 0; c < count; c++) {
        ASSERT_GE(w[r * count + c], 0.f);
        if (w[r * count + c] == 0) continue;
        sum += w[r * count + c], used.push_back(c), size += std::fabs(double(bins[c]));
      }
      EXPECT_EQ(sum, 1.f);
      ASSERT_TRUE(used.size() == 1 || (used.size() == 2 && used[1] == used[0] + 1)) << "target " << target[r];
      if (std::fabs(target[r]) >= bins[count - 1]) {
        ASSERT_EQ(used.size(), 1u);
        EXPECT_EQ(used[0], target[r] > 0 ? count - 1 : 0);
      } else {  // the upper weight by three roundings of the bins' distance, the lower by one more
        expect_within(mean_of(w, bins, r), target[r], 4 * u * size, "sum of weight times bin");
      }
    }
  }
}

TEST_P(Losses, TwoHotOfSymlogKeepsTheNumber) {
  const Tensor bins = linear_bins();
  Tensor x({600}, 14);
  for (float& v : x.data) v = std::copysign(float(std::expm1(19 * std::fabs(double(v)))), v);
  const Tensor y = run_symlog(ctx_, SymLogKind::symlog, x), w = two_hot_weights(ctx_, y, bins);
  for (int64_t r = 0; r < x.count(); r++) {
    const double mean = mean_of(w, bins, r), a = std::fabs(double(x[r])), close = 4 * u * 2 * 20;
    expect_within(mean, std::copysign(std::log1p(a), x[r]), close + u * std::log1p(a), "sum of weight times bin");
    expect_within(std::copysign(std::expm1(std::fabs(mean)), mean), x[r], 1.1 * (1 + a) * (close + 20 * u), "x");
  }
}

// logits = log weight. Each probability has a logarithm, a difference and an exponential behind it, whose errors weigh
// no more than w |log w| < 0.4; then a product, den, a sum and the quotient round.
TEST_P(Losses, TwoHotMeanOfTheWeightsIsTheTarget) {
  const Tensor bins = symexp_bins_tensor(), target = two_hot_targets(bins), w = two_hot_weights(ctx_, target, bins);
  const int64_t n = target.count(), count = bins.count();
  Tensor logits({n, count}), mean({n}), max({n}), den({n});
  for (int64_t i = 0; i < w.count(); i++) logits[i] = float(std::log(double(w[i])));
  run_forward(ctx_, TwoHotMean{}, {logits.view, bins.view}, {mean.view, max.view, den.view});
  for (int64_t r = 0; r < n; r++) {
    double size = 0;
    for (int64_t c = 0; c < count; c++)
      if (w[r * count + c] > 0) size += std::fabs(double(bins[c]));
    const double limit = bins[count - 1], held = std::clamp(double(target[r]), -limit, limit);
    expect_within(mean[r], held, 12 * u * size, "mean for " + std::to_string(target[r]));
  }
}

// Opposite bins cancel to the bit, however large: symmetric logits have the mean 0; a probability off near the middle
// shows in full, where the bins at the ends, 5e8, would drown it; and mirrored logits differ by the two rounded den.
TEST_P(Losses, TwoHotMeanIsOdd) {
  const Tensor bins = symexp_bins_tensor();
  const int64_t n = 20, count = bins.count();
  Tensor logits({n, count}, 15, 3), mirrored(logits.view.sizes), mean({n}), mean2({n}), max({n}), den({n});
  for (int64_t r = 0; r < n; r++) {
    float* x = &logits.data[size_t(r * count)];
    for (int64_t c = 0; c < 127; c++) x[count - 1 - c] = x[c];
    if (r > 0) x[120 + r % 5] += 1;
    std::reverse_copy(x, x + count, &mirrored.data[size_t(r * count)]);
  }
  run_forward(ctx_, TwoHotMean{}, {logits.view, bins.view}, {mean.view, max.view, den.view});
  run_forward(ctx_, TwoHotMean{}, {mirrored.view, bins.view}, {mean2.view, max.view, den.view});
  EXPECT_EQ(mean[0], 0.f);
  for (int64_t r = 1; r < n; r++) {
    const int64_t c = 120 + r % 5;
    const std::vector<double> p = softmax(&logits.data[size_t(r * count)], count);
    const double expected = (p[size_t(c)] - p[size_t(count - 1 - c)]) * double(bins[c]);
    // x - max, at most 8, exp and the product, twice over since e and 1 are subtracted; den, the sum, the quotient.
    expect_within(mean[r], expected, (2.2 * 10 + 13 + 3) * u * std::fabs(expected), "mean");
    expect_within(mean[r], -mean2[r], 2 * (13 + 1) * u * std::fabs(expected), "mirrored");
  }
}

TEST_P(Losses, TwoHotCrossEntropyIsCrossEntropyOfItsWeights) {
  for (const Tensor& bins : {symexp_bins_tensor(), linear_bins()}) {
    const Tensor target = two_hot_targets(bins), w = two_hot_weights(ctx_, target, bins);
    const int64_t n = target.count(), count = bins.count();
    Tensor logits({n, count}, 16, 5), dloss({n}, 17, 3);
    const ClassLoss a = two_hot(ctx_, logits, target, bins, dloss);
    const ClassLoss b = cross_entropy(ctx_, logits, w.view, dloss);
    expect_same_bits(a.loss, b.loss, "loss");
    expect_same_bits(a.dlogits, b.dlogits, "dlogits");
    // den is off by 8 additions in a lane and 5 of the butterfly, each p by its quotient, each p - weight by its own
    // rounding and its product's, and those differences add up to two at most.
    for (int64_t r = 0; r < n; r++) {
      double sum = 0;
      for (int64_t c = 0; c < count; c++) sum += a.dlogits[r * count + c];
      expect_within(sum, 0, (13 + 1 + 2 * 2) * u * std::fabs(dloss[r]), "sum of a row's gradient");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Losses, testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 3)),
                         backend_and_threads);

}  // namespace
}  // namespace dr
