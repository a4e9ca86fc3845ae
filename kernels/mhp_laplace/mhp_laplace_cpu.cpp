#include "kernels/mhp_laplace/mhp_laplace.h"

#include "kernels/cross_entropy/class_rows.h"
#include "kernels/laplace_nll/laplace_row.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class P, class T>
LaplaceRow<P, T> guess_row(const MhpLaplace::In& in, int64_t b, int64_t k, float floor) {
  return {row_of<const P>(in.mean, b) + k * in.mean.stride(1),
          row_of<const P>(in.log_scale, b) + k * in.log_scale.stride(1), row_of<const T>(in.target, b),
          row_if<float>(in.weight, b), floor};
}

template <class P, class T>
float distance(const LaplaceRow<P, T>& row, int64_t width) {
  return row_reduce(width, [&](f32v& acc, int64_t i, auto n) {
    const f32v e = abs(row.error(i, n));
    acc = row.weight ? add_weighted(acc, load_n(row.weight + i, n), e) : acc + e;  // lanes past n: 0 - 0
  });
}

bool any_known(const float* weight, int64_t width) {
  for (int64_t i = 0; i < width; i++)
    if (weight[i] != 0) return true;
  return false;
}

// -1 where nothing is known.
template <class P, class T>
int32_t winner_of(const MhpLaplace::In& in, int64_t b) {
  const int64_t guesses = in.mean.size(1), width = in.mean.size(2);
  if (in.weight && !any_known(row_if<float>(in.weight, b), width)) return -1;
  int32_t winner = 0;
  float least = distance(guess_row<P, T>(in, b, 0, 0), width);
  for (int64_t k = 1; k < guesses && least == least; k++) {
    const float d = distance(guess_row<P, T>(in, b, k, 0), width);
    if (!(d >= least)) winner = int32_t(k), least = d;
  }
  return winner;
}

// f(b) for every sample, in parallel.
template <class F>
void for_samples(Context& ctx, const MhpLaplace::In& in, F&& f) {
  const int64_t grain = std::max<int64_t>(1, kLossPiece / (in.mean.size(1) * in.mean.size(2)));
  ctx.parallel(in.mean.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) f(b);
  });
}

template <class T>
T* guess_of(const View& v, int64_t b, int64_t k) {
  return row_of<T>(v, b) + k * v.stride(1);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void MhpLaplace::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_samples(ctx, in, [&](int64_t b) {
      const int32_t winner = winner_of<P, T>(in, b);
      float nll = 0, cross_entropy = 0;
      if (winner >= 0) {
        const LaplaceRow<P, T> row = guess_row<P, T>(in, b, winner, min_log_scale);
        nll = row_reduce(in.mean.size(2), [&](f32v& acc, int64_t i, auto n) { row.add_nll(acc, i, n); });
        const P* x = row_of<const P>(in.logits, b);
        const SoftmaxRow softmax = softmax_of(x, in.logits.size(1));
        cross_entropy = class_nll(load1(x + winner), softmax.max, log(softmax.den));
      }
      out.winner.as<int32_t>()[b] = winner;
      out.nll.as<float>()[b] = nll;
      out.cross_entropy.as<float>()[b] = cross_entropy;
      out.loss.as<float>()[b] = nll_scale * nll + cross_entropy;
    });
  });
}

template <>
void MhpLaplace::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                    const Grad& grad) const {
  const int64_t guesses = in.mean.size(1), width = in.mean.size(2);
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_samples(ctx, in, [&](int64_t b) {
      const int64_t winner = saved.winner.as<int32_t>()[b];
      const float g = *row_of<const float>(dout.loss, b);
      for (const View& v : {grad.mean, grad.log_scale})
        for (int64_t k = 0; v && k < guesses; k++)
          if (k != winner) std::memset(guess_of<P>(v, b, k), 0, size_t(width) * sizeof(P));
      if (winner >= 0 && (grad.mean || grad.log_scale)) {
        P* const dmean = grad.mean ? guess_of<P>(grad.mean, b, winner) : nullptr;
        P* const dscale = grad.log_scale ? guess_of<P>(grad.log_scale, b, winner) : nullptr;
        guess_row<P, T>(in, b, winner, min_log_scale)
            .for_gradients(width, g * nll_scale, [&](int64_t i, f32v dm, f32v ds, auto n) {
              if (dmean) store_n(dmean + i, dm, n);
              if (dscale) store_n(dscale + i, ds, n);
            });
      }
      if (!grad.logits) return;
      P* const dx = row_of<P>(grad.logits, b);
      const P* x = row_of<const P>(in.logits, b);
      if (winner >= 0) class_gradient(x, guesses, softmax_of(x, guesses), winner, g, dx);
      else std::memset(dx, 0, size_t(guesses) * sizeof(P));
    });
  });
}

}  // namespace dr
