#include "kernels/mhp_laplace/mhp_laplace.h"

#include "kernels/cross_entropy/gpu_class_rows.h"
#include "kernels/laplace_nll/gpu_laplace_row.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// A (B,K,M) tensor whose guesses are packed.
template <class T>
struct GuessesOf {
  T* data;
  int64_t samples, guesses;  // strides
  explicit GuessesOf(const View& v) : data(static_cast<T*>(v.data)), samples(v.stride(0)), guesses(v.stride(1)) {}
  DR_DEVICE T* row(int64_t b, int64_t k) const { return data ? data + b * samples + k * guesses : nullptr; }
};

template <class P, class T>
struct Guesses {
  GuessesOf<const P> mean, log_scale;
  RowsOf<const T> target;
  RowsOf<const float> weight;  // data null: 1
  int64_t count, width;
  float floor;
  explicit Guesses(const MhpLaplace::In& in, float floor_)
      : mean(in.mean), log_scale(in.log_scale), target(rows_of<const T>(in.target)),
        weight(rows_of<const float>(in.weight)), count(in.mean.size(1)), width(in.mean.size(2)), floor(floor_) {}
  DR_DEVICE const float* weights(int64_t b) const { return weight.data ? weight.row(b) : nullptr; }
  DR_DEVICE LaplaceRow<P, T> row(int64_t b, int64_t k) const {
    return {mean.row(b, k), log_scale.row(b, k), target.row(b), weights(b), floor};
  }
};

// distance (B,K): a group of lanes takes a guess.
template <class P, class T>
struct Distance {
  Guesses<P, T> guesses;
  float* distance;
  DR_DEVICE void operator()(int64_t guess) const {
    const LaplaceRow<P, T> row = guesses.row(guess / guesses.count, guess % guesses.count);
    const float sum = row_reduce(guesses.width, [&](float& acc, int64_t i) { row.add_distance(acc, i); });
    if (lane_index() == 0) distance[guess] = sum;
  }
};

// A group of lanes takes a sample.
template <class P, class T>
struct Loss {
  Guesses<P, T> guesses;
  RowsOf<const P> logits;
  const float* distance;
  float nll_scale;
  int32_t* winner;
  float *nll, *cross_entropy, *loss;

  DR_DEVICE bool known(int64_t b) const {
    const float* const w = guesses.weights(b);
    bool mine = !w;
    for (int64_t i = lane_index(); w && i < guesses.width; i += kGroup) mine |= w[i] != 0;
    return any(mine);
  }
  DR_DEVICE int64_t closest(const float* d) const {
    int64_t best = 0;
    for (int64_t k = 1; k < guesses.count && d[best] == d[best]; k++)
      if (!(d[k] >= d[best])) best = k;
    return best;
  }
  DR_DEVICE void operator()(int64_t b) const {
    const int64_t k = known(b) ? closest(distance + b * guesses.count) : -1;
    float likelihood = 0, entropy = 0;
    if (k >= 0) {
      const LaplaceRow<P, T> row = guesses.row(b, k);
      likelihood = row_reduce(guesses.width, [&](float& acc, int64_t i) { row.add_nll(acc, i); });
      const P* const x = logits.row(b);
      const SoftmaxRow softmax = softmax_of(x, guesses.count);
      entropy = class_nll(load1(x + k), softmax.max, log(softmax.den));
    }
    if (lane_index() != 0) return;
    winner[b] = int32_t(k);
    nll[b] = likelihood;
    cross_entropy[b] = entropy;
    loss[b] = nll_scale * likelihood + entropy;
  }
};

template <class P, class T>
struct GuessGradients {
  Guesses<P, T> guesses;
  RowsOf<const float> dloss;
  float nll_scale;
  const int32_t* winner;
  GuessesOf<P> dmean, dscale;  // data null: not wanted
  DR_DEVICE void operator()(int64_t guess, int64_t c, int n) const {
    const int64_t b = guess / guesses.count, k = guess % guesses.count;
    P *const dm = dmean.row(b, k), *const ds = dscale.row(b, k);
    if (k == winner[b]) return guesses.row(b, k).gradients(c, n, *dloss.row(b) * nll_scale, dm, ds);
    if (dm) store_run(dm + c, Run{}, n);
    if (ds) store_run(ds + c, Run{}, n);
  }
};
template <class P>
struct LogitGradients {
  RowsOf<const P> logits;
  RowsOf<P> dlogits;
  RowsOf<const float> dloss;
  const int32_t* winner;
  int64_t guesses;
  DR_DEVICE void operator()(int64_t b) const {
    const P* const x = logits.row(b);
    const int64_t k = winner[b];
    const float g = *dloss.row(b);
    const SoftmaxRow row = softmax_of(x, guesses);
    for (int64_t i = lane_index(); i < guesses; i += kGroup)
      store1(dlogits.row(b) + i, k < 0 ? 0.f : class_slope(g, row.share(load1(x + i)), i == k ? 1.f : 0.f));
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void MhpLaplace::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t samples = in.mean.size(0), all = samples * in.mean.size(1);
  float* const distance = ctx.scratch_as<float>(size_t(all));
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    const Guesses<P, T> guesses(in, min_log_scale);
    for_rows(ctx, all, Distance<P, T>{guesses, distance});
    for_rows(ctx, samples,
             Loss<P, T>{guesses, rows_of<const P>(in.logits), distance, nll_scale, out.winner.as<int32_t>(),
                        out.nll.as<float>(), out.cross_entropy.as<float>(), out.loss.as<float>()});
  });
}

template <>
void MhpLaplace::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                    const Grad& grad) const {
  const int64_t samples = in.mean.size(0), guesses = in.mean.size(1), width = in.mean.size(2);
  const RowsOf<const float> dloss = rows_of<const float>(dout.loss);
  const int32_t* const winner = saved.winner.as<int32_t>();
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    if (grad.mean || grad.log_scale)
      for_runs(ctx, samples * guesses, width,
               GuessGradients<P, T>{Guesses<P, T>(in, min_log_scale), dloss, nll_scale, winner, GuessesOf<P>(grad.mean),
                                    GuessesOf<P>(grad.log_scale)});
    if (grad.logits)
      for_rows(ctx, samples,
               LogitGradients<P>{rows_of<const P>(in.logits), rows_of<P>(grad.logits), dloss, winner, guesses});
  });
}

}  // namespace dr
