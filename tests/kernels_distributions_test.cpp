// Distributions and returns: what their formulas imply, derived here from the formulas and not from the kernels or their
// references. Samples come as often as they should, gradients stop where they must.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/categorical/categorical.h"
#include "kernels/categorical_kl/categorical_kl.h"
#include "kernels/lambda_returns/lambda_returns.h"
#include "kernels/percentile_ema/percentile_ema.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

class Distributions : public KernelTest {
 protected:
  Distributions() : KernelTest(1 << 20) {}
};

// ---- categorical ----

struct Draw {
  Tensor sample, probs;
  Indices index;
};
Draw draw(Context& ctx, const Categorical& op, const Tensor& logits, const Words& rng) {
  Sizes one = logits.view.sizes;
  one.rank--;
  Draw d{unwritten(logits.view.sizes), unwritten(logits.view.sizes), Indices(one)};
  run_forward(ctx, op, {logits.view, rng.view}, {d.sample.view, d.index.view, d.probs.view});
  return d;
}
Words random_words(uint32_t seed, uint32_t step) { return Words({4}, std::vector<uint32_t>{seed, 0, step, 0}); }

// P(chi-square of six degrees of freedom > x).
double beyond_chi_square_6(double x) { return std::exp(-x / 2) * (1 + x / 2 + x * x / 8); }

// How likely counts are to lie as far from what softmax(logits) with a part of uniform lets expect.
double likelihood_of(const std::vector<double>& counts, const float* logits, double unimix) {
  const std::vector<double> s = softmax(logits, 7);
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double chi_square = 0;
  for (size_t c = 0; c < 7; c++) {
    const double expected = n * ((1 - unimix) * s[c] + unimix / 7);
    chi_square += (counts[c] - expected) * (counts[c] - expected) / expected;
  }
  return beyond_chi_square_6(chi_square);
}

// A sound generator fails this test with one seed in a million; the same counts refuse no mix and twice the mix.
TEST_P(Distributions, SamplesComeAsOftenAsTheirProbabilities) {
  const std::vector<float> x{-12, -1, 0, 0.5f, 1, 2, -30};  // the ends come by the mix alone
  const int64_t batch = 1024, groups = 128, n = batch * groups;
  Tensor logits({batch, groups, 7});
  for (int64_t i = 0; i < logits.count(); i++) logits[i] = x[size_t(i % 7)];
  const Draw d = draw(ctx_, Categorical{}, logits, random_words(20251, 3));
  std::vector<double> counts(7, 0);
  for (int64_t i = 0; i < n; i++) {
    ASSERT_TRUE(d.index[i] >= 0 && d.index[i] < 7);
    counts[size_t(d.index[i])]++;
    for (int64_t c = 0; c < 7; c++) ASSERT_EQ(d.sample[i * 7 + c], float(c == d.index[i]));
  }
  EXPECT_GT(likelihood_of(counts, x.data(), 0.01), 1e-6);
  EXPECT_LT(likelihood_of(counts, x.data(), 0), 1e-6);
  EXPECT_LT(likelihood_of(counts, x.data(), 0.02), 1e-6);

  // Neighbours are drawn independently: the class of one has no say in the next.
  std::vector<double> after(7, 0);
  for (int64_t i = 1; i < n; i++)
    if (d.index[i - 1] == 5) after[size_t(d.index[i])]++;
  EXPECT_GT(likelihood_of(after, x.data(), 0.01), 1e-6);
}

TEST_P(Distributions, SamplesDoNotDependOnHowABatchIsCut) {
  const int64_t batch = 12, groups = 3, classes = 7, per = groups * classes;
  Tensor logits({batch, groups, classes}, 18, 2);
  const Words rng = random_words(5, 11);
  ctx_.first_sample = 1000;
  ctx_.op_id = 4;
  const Draw whole = draw(ctx_, Categorical{}, logits, rng);
  for (const std::vector<int64_t>& cut : {std::vector<int64_t>{5, 4, 3}, {1, 11}, {2, 2, 2, 2, 2, 2}}) {
    int64_t first = 0;
    for (int64_t n : cut) {
      Tensor part({n, groups, classes},
                  std::vector<float>(logits.data.begin() + first * per, logits.data.begin() + (first + n) * per));
      ctx_.first_sample = uint64_t(1000 + first);
      const Draw d = draw(ctx_, Categorical{}, part, rng);
      for (int64_t i = 0; i < n * groups; i++) ASSERT_EQ(d.index[i], whole.index[first * groups + i]);
      for (int64_t i = 0; i < n * per; i++) {
        ASSERT_EQ(d.sample[i], whole.sample[first * per + i]);
        ASSERT_EQ(d.probs[i], whole.probs[first * per + i]);
      }
      first += n;
    }
    ASSERT_EQ(first, batch);
  }
  // 36 draws of about equal classes: the same by chance once in 10^20 or so.
  ctx_.first_sample = 1000;
  EXPECT_EQ(draw(ctx_, Categorical{}, logits, rng).index.data, whole.index.data);
  EXPECT_NE(draw(ctx_, Categorical{}, logits, random_words(6, 11)).index.data, whole.index.data) << "another seed";
  EXPECT_NE(draw(ctx_, Categorical{}, logits, random_words(5, 12)).index.data, whole.index.data) << "another step";
  ctx_.op_id = 5;
  EXPECT_NE(draw(ctx_, Categorical{}, logits, rng).index.data, whole.index.data) << "another call";
}

Tensor categorical_gradient(Context& ctx, const Categorical& op, const Tensor& logits, const Words& rng,
                            const Tensor& dsample, const Tensor& dprobs) {
  const Draw d = draw(ctx, op, logits, rng);
  Tensor dx = unwritten(logits.view.sizes);
  run_backward(ctx, op, {logits.view, rng.view}, {d.sample.view, d.index.view, d.probs.view},
               {dsample.view, dprobs.view}, {dx.view});
  return dx;
}

// As if the sample were the probabilities: dx[j] = sum_i d[i] 0.99 s[i] ([i = j] - s[j]), whatever was drawn.
TEST_P(Distributions, StraightThroughGradientsAreThoseOfTheProbabilities) {
  const int64_t groups = 24, classes = 5;
  Tensor logits({6, 4, classes}, 19, 2), d(logits.view.sizes, 20), zero(logits.view.sizes);
  const Words rng = random_words(1, 1);
  const Tensor dx = categorical_gradient(ctx_, {}, logits, rng, d, zero);
  for (int64_t g = 0; g < groups; g++) {
    const std::vector<double> s = softmax(&logits.data[size_t(g * classes)], classes);
    for (int64_t j = 0; j < classes; j++) {
      double expected = 0, size = 0;
      for (int64_t i = 0; i < classes; i++) {
        const double di = d[g * classes + i], si = s[size_t(i)], sj = s[size_t(j)];
        expected += di * 0.99 * si * ((i == j) - sj);
        size += std::fabs(di) * 0.99 * si * ((i == j) + sj);
      }
      // Each s: x - max, at most 4, exp, den with 1 + 5 additions, the quotient; twice, and the last few operations.
      expect_within(dx[g * classes + j], expected, (2 * 16 + 8) * u * size, "dlogits");
    }
  }
  expect_same_bits(dx, categorical_gradient(ctx_, {}, logits, random_words(2, 1), d, zero), "another draw");
  expect_same_bits(dx, categorical_gradient(ctx_, {.argmax = true}, logits, rng, d, zero), "no draw");
  expect_same_bits(dx, categorical_gradient(ctx_, {}, logits, rng, zero, d), "by the probabilities");
  expect_same_bits(dx, categorical_gradient(ctx_, {.straight_through = false}, logits, rng, d, d), "and by them alone");
  const Tensor stopped = categorical_gradient(ctx_, {.straight_through = false}, logits, rng, d, zero);
  for (float v : stopped.data) EXPECT_EQ(v, 0.f);

  // By hand: s = (1/4, 3/4), so probs = (0.2525, 0.7475) and the first of them has the slopes +-0.99 3/16.
  Tensor two({1, 2}, std::vector<float>{0, float(std::log(3.0))}), first({1, 2}, std::vector<float>{1, 0}),
      none({1, 2});
  const Draw by_hand = draw(ctx_, {}, two, rng);
  expect_within(by_hand.probs[0], 0.2525, 4 * u, "probs");
  expect_within(by_hand.probs[1], 0.7475, 4 * u, "probs");
  const Tensor slopes = categorical_gradient(ctx_, {}, two, rng, first, none);
  expect_within(slopes[0], 0.185625, 8 * u, "slope");
  expect_within(slopes[1], -0.185625, 8 * u, "slope");
}

// ---- divergence ----

struct Divergence {
  Tensor loss, kl, dp, dq;
};
Divergence divergence(Context& ctx, const CategoricalKl& op, const Tensor& p, const Tensor& q, const Tensor& dloss) {
  const int64_t n = p.view.size(0);
  Divergence d{unwritten({n}), unwritten({n}), unwritten(p.view.sizes), unwritten(p.view.sizes)};
  run_forward(ctx, op, {p.view, q.view}, {d.loss.view, d.kl.view});
  run_backward(ctx, op, {p.view, q.view}, {d.loss.view, d.kl.view}, {dloss.view}, {d.dp.view, d.dq.view});
  return d;
}

TEST_P(Distributions, DivergenceOfEqualLogitsIsZero) {
  Tensor p({7, 32, 24}, 21, 6), dloss = filled({7}, 1e30f);
  for (float unimix : {0.f, 0.01f})
    for (float free_nats : {0.f, 1.f}) {
      const Divergence d = divergence(ctx_, {unimix, free_nats}, p, p, dloss);
      for (int64_t r = 0; r < 7; r++) {
        EXPECT_EQ(d.kl[r], 0.f);
        EXPECT_EQ(d.loss[r], free_nats);
      }
      for (const Tensor* t : {&d.dp, &d.dq})
        for (float v : t->data) ASSERT_EQ(v, 0.f);
    }
}

// P = (0.2525, 0.7475) against the uniform Q is 0.128 nats. One nat is free for the sum over the groups of a row, not
// for each of them: seven groups stay below it, eight do not, and each row is judged by itself.
TEST_P(Distributions, FreeNatsAreThoseOfAStep) {
  const double one = 0.2525 * std::log(2 * 0.2525) + 0.7475 * std::log(2 * 0.7475);
  const int64_t below = int64_t(1 / one), above = below + 1;  // groups
  ASSERT_EQ(below, 7);
  Tensor p({2, above, 2}), q(p.view.sizes), dloss = filled({2}, 1e20f);
  for (int64_t r = 0; r < 2; r++)
    for (int64_t g = 0; g < (r ? above : below); g++) p[(r * above + g) * 2 + 1] = float(std::log(3.0));
  const Divergence d = divergence(ctx_, {}, p, q, dloss);
  expect_within(d.kl[0], double(below) * one, 40 * u, "below");
  expect_within(d.kl[1], double(above) * one, 40 * u, "above");
  EXPECT_EQ(d.loss[0], 1.f);
  EXPECT_EQ(d.loss[1], d.kl[1]);
  for (const Tensor* t : {&d.dp, &d.dq})
    for (int64_t i = 0; i < p.count(); i++) {
      if (i < above * 2) ASSERT_EQ(t->data[size_t(i)], 0.f) << "flat below the floor";
      else ASSERT_GT(std::fabs(t->data[size_t(i)]), 1e18f) << "not beyond it";
    }
}

// log K less the entropy, where q is uniform.
TEST_P(Distributions, DivergenceFromUniformIsTheEntropyThatIsMissing) {
  Tensor p({20, 1, 39}, 22, 4), q(p.view.sizes), dloss({20});
  const Divergence d = divergence(ctx_, {.free_nats = 0}, p, q, dloss);
  for (int64_t r = 0; r < 20; r++) {
    double entropy = 0;
    for (double s : softmax(&p.data[size_t(r * 39)], 39)) {
      const double probability = 0.99 * s + 0.01 / 39;
      entropy -= probability * std::log(probability);
    }
    expect_within(d.kl[r], std::log(39.0) - entropy, 40 * u * std::log(39.0), "kl");
  }
}

// DreamerV3's balance, 1.0 max(1, KL(sg(posterior), prior)) + 0.1 max(1, KL(posterior, sg(prior))): two calls, each
// asked for one gradient, give what one call gives for both, and that is
//   dprior[j] = -sum_k P[k] / Q[k] dQ[k]/dy[j]      dposterior[j] = sum_k (log P[k] - log Q[k]) dP[k]/dx[j]
// with dQ[k]/dy[j] = 0.99 t[k] ([k = j] - t[j]).
TEST_P(Distributions, BalancedDivergenceTrainsPriorAndPosteriorApart) {
  const int64_t n = 5, groups = 4, classes = 6;
  Tensor posterior({n, groups, classes}, 23, 3), prior(posterior.view.sizes, 24, 3), dloss = filled({n}, 1),
      tenth = filled({n}, 0.1f), loss({n}), kl({n}), dprior(prior.view.sizes), dposterior(prior.view.sizes);
  const Divergence both = divergence(ctx_, {}, posterior, prior, dloss);
  const CategoricalKl::In in{posterior.view, prior.view};
  run_forward(ctx_, CategoricalKl{}, in, {loss.view, kl.view});
  run_backward(ctx_, CategoricalKl{}, in, {loss.view, kl.view}, {dloss.view}, {{}, dprior.view});
  run_backward(ctx_, CategoricalKl{}, in, {loss.view, kl.view}, {tenth.view}, {dposterior.view, {}});
  expect_same_bits(dprior, both.dq, "the dynamics' gradient");
  for (int64_t r = 0; r < n; r++) {
    EXPECT_GT(kl[r], 1.f);
    for (int64_t g = 0; g < groups; g++) {
      const int64_t at = (r * groups + g) * classes;
      const std::vector<double> s = softmax(&posterior.data[size_t(at)], classes),
                                t = softmax(&prior.data[size_t(at)], classes);
      for (int64_t j = 0; j < classes; j++) {
        double to_prior = 0, to_posterior = 0, prior_size = 0, posterior_size = 0;
        for (int64_t k = 0; k < classes; k++) {
          const double sk = s[size_t(k)], tk = t[size_t(k)], sj = s[size_t(j)], tj = t[size_t(j)];
          const double pk = 0.99 * sk + 0.01 / 6, qk = 0.99 * tk + 0.01 / 6, log_ratio = std::log(pk / qk);
          to_prior -= pk / qk * 0.99 * tk * ((k == j) - tj);
          prior_size += pk / qk * 0.99 * tk * ((k == j) + tj);
          to_posterior += 0.1 * log_ratio * 0.99 * sk * ((k == j) - sj);
          posterior_size += 0.1 * (std::fabs(log_ratio) + 8) * 0.99 * sk * ((k == j) + sj);  // logs cancel
        }
        // A softmax is off by x - max, at most 6, exp, den and a quotient, 14 in all; three of them meet here.
        expect_within(dprior[at + j], to_prior, 60 * u * prior_size, "dprior");
        expect_within(dposterior[at + j], to_posterior, 60 * u * posterior_size, "dposterior");
      }
    }
  }
}

// ---- returns ----

// The lambda return as the mean of n-step returns, (1 - lambda) sum_n lambda^(n-1) G(n) + lambda^(N-1) G(N), where
// G(n) = r[t] + d[t] r[t+1] + ... + d[t] ... d[t+n-1] v[t+n].
TEST_P(Distributions, LambdaReturnsAreTheMeanOfStepReturns) {
  const int64_t batch = 6, steps = 15;
  Tensor reward({batch, steps}, 25), discount({batch, steps}, 26), value({batch, steps}, 27, 3),
      bootstrap({batch}, 28, 3), returns({batch, steps});
  for (float& d : discount.data) d = std::fabs(d);
  const LambdaReturns op{.lambda = 0.95f};
  run_forward(ctx_, op, {reward.view, discount.view, value.view, bootstrap.view}, {returns.view});
  const double lambda = double(op.lambda);
  for (int64_t b = 0; b < batch; b++)
    for (int64_t t = 0; t < steps; t++) {
      double expected = 0, size = 0, rewards = 0, rewards_size = 0, product = 1;
      for (int64_t n = 1; n <= steps - t; n++) {
        const int64_t at = b * steps + t + n - 1;
        rewards += product * double(reward[at]), rewards_size += product * std::fabs(double(reward[at]));
        product *= double(discount[at]);
        const double end = t + n < steps ? value[at + 1] : bootstrap[b];
        const double share = std::pow(lambda, double(n - 1)) * (t + n < steps ? 1 - lambda : 1);
        expected += share * (rewards + product * end);
        size += share * (rewards_size + product * std::fabs(end));
      }
      // Three roundings a step.
      expect_within(returns[b * steps + t], expected, 3 * double(steps) * u * size, "return");
    }
}

TEST_P(Distributions, NothingPassesTheEndOfAnEpisode) {
  const int64_t steps = 15, end = 6;  // discount[end] = 0
  Tensor reward({1, steps}, 29), discount({1, steps}, 30), value({1, steps}, 31), bootstrap({1}, 32),
      returns({1, steps}), returns2({1, steps}), dreturns({1, steps});
  for (float& d : discount.data) d = std::fabs(d);
  discount[end] = 0;
  const LambdaReturns op;
  run_forward(ctx_, op, {reward.view, discount.view, value.view, bootstrap.view}, {returns.view});
  EXPECT_EQ(returns[end], reward[end]);
  std::fill(dreturns.data.begin(), dreturns.data.begin() + end + 1, 1.f);
  Tensor dreward = unwritten({1, steps}), ddiscount = unwritten({1, steps}), dvalue = unwritten({1, steps}),
         dbootstrap = unwritten({1});
  run_backward(ctx_, op, {reward.view, discount.view, value.view, bootstrap.view}, {returns.view}, {dreturns.view},
               {dreward.view, ddiscount.view, dvalue.view, dbootstrap.view});
  for (int64_t t = 0; t <= end; t++) EXPECT_GE(dreward[t], 1.f);
  for (int64_t t = end + 1; t < steps; t++) {
    EXPECT_EQ(dreward[t], 0.f);
    EXPECT_EQ(dvalue[t], 0.f);
    EXPECT_EQ(ddiscount[t], 0.f);
    reward[t] = 1e6f, value[t] = -1e6f, discount[t] = 1;
  }
  EXPECT_EQ(dbootstrap[0], 0.f);
  EXPECT_GT(dvalue[end], 0.f);
  bootstrap[0] = 1e6f;
  run_forward(ctx_, op, {reward.view, discount.view, value.view, bootstrap.view}, {returns2.view});
  for (int64_t t = 0; t <= end; t++) EXPECT_EQ(returns2[t], returns[t]);
  for (int64_t t = end + 1; t < steps; t++) EXPECT_NE(returns2[t], returns[t]);
}

// Of 0, ..., 100 in any order the percentiles are 5 and 95. From zeros, after n steps the range is 90 (1 - 0.99^n): 0.9
// after one, where the floor holds, 1.791 after two.
TEST_P(Distributions, ReturnScaleOfAKnownList) {
  Tensor values({101}), state({2}), percentiles({2}), scale({1});
  for (int64_t i = 0; i < 101; i++) values[i] = float(i * 37 % 101);
  for (int n = 1; n <= 50; n++) {
    run_forward(ctx_, PercentileEma{}, {values.view, state.view}, {state.view, percentiles.view, scale.view});
    EXPECT_EQ(percentiles.data, (std::vector<float>{5, 95}));
    const double share = 1 - std::pow(0.99, n);
    expect_within(state[0], 5 * share, 4 * u * n * 5, "5th");
    expect_within(state[1], 95 * share, 4 * u * n * 95, "95th");
    if (n == 1) EXPECT_EQ(scale[0], 1.f);
    else expect_within(scale[0], 90 * share, 4 * u * n * 100, "scale");
  }
}

INSTANTIATE_TEST_SUITE_P(All, Distributions, testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 3)),
                         backend_and_threads);

}  // namespace
}  // namespace dr
