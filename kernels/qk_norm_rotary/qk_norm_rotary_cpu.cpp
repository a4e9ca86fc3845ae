#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/core/column_sums.h"
#include "kernels/core/math.h"

#include "kernels/rotary/rotate.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kTokensPerPiece = 4;  // of parallel work: 4 tokens of 12 heads of 64 are some microseconds

// One token's row of the tables; null where there are none.
struct Angles {
  const float *cos = nullptr, *sin = nullptr;
  Angles(const View& c, const View& s, int64_t batch, int64_t token) {
    if (c) cos = token_row<const float>(c, batch, token), sin = token_row<const float>(s, batch, token);
  }
};

DR_INLINE f32v weight_or_one(const float* weight, int64_t i, auto n) {
  return weight ? load_n(weight + i, n) : splat(1.f);
}

template <class T>
void forward_heads(Context& ctx, float eps, const View& x_view, const View& weight_view, const QkNormRotary::In& in,
                   const View& y_view, const View& rstd_view) {
  const int64_t length = x_view.size(1), heads = x_view.size(2), width = x_view.size(3), half = width / 2;
  const float* const weight = weight_view ? weight_view.as<float>() : nullptr;
  ctx.parallel(x_view.size(0) * length, kTokensPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; token++) {
      const int64_t b = token / length, t = token % length;
      const Angles angles(in.cos, in.sin, b, t);
      float* const rstd = rstd_view.as<float>() + token * heads;
      for (int64_t h = 0; h < heads; h++) {
        const T* x = head_row<const T>(x_view, b, t, h);
        rstd[h] = row_reduce(width, [&](f32v& acc, int64_t i, auto n) {
          const f32v v = load_n(x + i, n);
          acc = fma(v, v, acc);
        });
      }
      const f32v count = splat(float(width)), e = splat(eps);  // all heads at once: a square root takes long
      for_vectors(heads, [&](int64_t h, auto n) { store_n(rstd + h, rsqrt(load_n(rstd + h, n) / count + e), n); });
      for (int64_t h = 0; h < heads; h++) {
        const T* x = head_row<const T>(x_view, b, t, h);
        T* y = head_row<T>(y_view, b, t, h);
        const f32v rs = splat(rstd[h]);
        auto normed = [&](int64_t i, auto n) {
          return fma(load_n(x + i, n) * rs, weight_or_one(weight, i, n), f32v{});
        };
        if (angles.cos)
          for_vectors(half, [&](int64_t i, auto n) {
            const Pair r = rotate({normed(i, n), normed(half + i, n)}, load_n(angles.cos + i, n),
                                  load_n(angles.sin + i, n));
            store_n(y + i, r.first, n);
            store_n(y + half + i, r.second, n);
          });
        else
          for_vectors(width, [&](int64_t i, auto n) { store_n(y + i, normed(i, n), n); });
      }
    }
  });
}

// One of q and k: what backward reads and writes.
struct Side {
  View x, rstd, dy, dx;
  const float* weight;
};

// Gradient of the normalised head, before its rotation.
template <class T>
DR_INLINE void rotate_back(const T* dy, const Angles& angles, int64_t width, float* out) {
  const int64_t half = width / 2;
  if (angles.cos)
    for_vectors(half, [&](int64_t i, auto n) {
      const Pair r = rotate({load_n(dy + i, n), load_n(dy + half + i, n)}, load_n(angles.cos + i, n),
                            -load_n(angles.sin + i, n));
      store_n(out + i, r.first, n);
      store_n(out + half + i, r.second, n);
    });
  else
    for_vectors(width, [&](int64_t i, auto n) { store_n(out + i, load_n(dy + i, n), n); });
}

template <class T>
void backward_heads(Context& ctx, const QkNormRotary::In& in, const std::array<Side, 2>& sides,
                    const QkNormRotary::Grad& grad) {
  const int64_t length = in.q.size(1), heads = in.q.size(2), width = in.q.size(3);
  const float count = float(width);
  // Row r is head r % H of token r / H. columns() turns whole heads, of which it then adds the columns asked for.
  auto visit = [&](int64_t r, bool want_dx, int64_t begin, int64_t end, const Sums<2>& sums) {
    const int64_t token = r / heads, h = r % heads, b = token / length, t = token % length;
    const Angles angles(in.cos, in.sin, b, t);
    for (size_t k = 0; k < 2; k++) {
      const Side& side = sides[k];
      const bool dx_wanted = want_dx && side.dx;
      if (!dx_wanted && !sums[k]) continue;
      const T* x = head_row<const T>(side.x, b, t, h);
      const f32v rs = splat(side.rstd.as<float>()[r]);
      alignas(64) float g[QkNormRotary::kMaxWidth];
      rotate_back(head_row<const T>(side.dy, b, t, h), angles, width, g);
      if (dx_wanted) {
        T* dx = head_row<T>(side.dx, b, t, h);
        const f32v mean = splat(row_reduce(width, [&](f32v& acc, int64_t i, auto n) {
          acc = fma(load_n(g + i, n) * weight_or_one(side.weight, i, n), keep(load_n(x + i, n) * rs, n), acc);
        }) / count);
        for_vectors(width, [&](int64_t i, auto n) {
          const f32v xhat = load_n(x + i, n) * rs;
          store_n(dx + i, rs * fma(-xhat, mean, load_n(g + i, n) * weight_or_one(side.weight, i, n)), n);
        });
      }
      if (float* const sum = sums[k])
        for_vectors(end - begin, [&](int64_t i, auto n) {
          const f32v xhat = load_n(x + begin + i, n) * rs;
          store_n(sum + i, fma(load_n(g + begin + i, n), xhat, load_n(sum + i, n)), n);
        });
    }
  };
  rows_and_column_sums<2>(
      ctx, QkNormRotary::groups(in, ctx.leaves), {grad.q_weight, grad.k_weight}, false,
      [&](int64_t r, const Sums<2>& sums) { visit(r, true, 0, width, sums); },
      [&](int64_t r, int64_t begin, int64_t end, const Sums<2>& sums) { visit(r, false, begin, end, sums); });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void QkNormRotary::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    forward_heads<T>(ctx, eps, in.q, in.q_weight, in, out.q, out.q_rstd);
    forward_heads<T>(ctx, eps, in.k, in.k_weight, in, out.k, out.k_rstd);
  });
}

template <>
void QkNormRotary::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                      const Grad& grad) const {
  const RowGroups rows = groups(in, ctx.leaves);
  CHECK(ctx.leaves > 0 && rows.rows * ctx.leaves == groups(in, 1).rows,
        "qk_norm_rotary: {} rows do not divide into {} leaves", groups(in, 1).rows, ctx.leaves);
  auto weight = [](const View& v) { return v ? v.as<float>() : nullptr; };
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    backward_heads<T>(ctx, in,
                      {Side{in.q, saved.q_rstd, dy.q, grad.q, weight(in.q_weight)},
                       Side{in.k, saved.k_rstd, dy.k, grad.k, weight(in.k_weight)}},
                      grad);
  });
}

}  // namespace dr
