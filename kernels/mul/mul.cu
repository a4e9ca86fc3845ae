#include "kernels/mul/mul.h"

#include "kernels/core/gpu_row_loss.h"
#include "kernels/core/gpu_strided.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// ---- tensors of one shape ----

struct Product {
  DR_DEVICE float operator()(float a, float b) const { return a * b; }
};
template <class T>
struct ProductAt {
  const T *a, *b;
  T* z;
  DR_DEVICE void operator()(const StridedIndex<3>::Offsets& at) const {
    store1(z + at[2], load1(a + at[0]) * load1(b + at[1]));
  }
};

// to = a * b
template <class T>
void multiply(const Context& ctx, const View& a, const View& b, const View& to) {
  if (a.packed() && b.packed() && to.packed()) return elementwise<T>(ctx, to, Product{}, a, b);
  const View views[] = {a, b, to};
  for_strided(ctx, views,
              ProductAt<T>{static_cast<const T*>(a.data), static_cast<const T*>(b.data), static_cast<T*>(to.data)});
}

// ---- a factor per row ----

// Where a row and its factor lie: strides of the leading axes.
using RowIndex = StridedIndex<2>;
RowIndex row_index(const Mul::In& in) {
  View views[] = {in.a, in.b};
  for (View& v : views) v.sizes.rank = Mul::row_axes(in);
  return strided_index(views);
}

// z[r,c] = x[r,c] * b[r]; x is a, at its rows' offsets, or dz, whose rows follow one another.
template <class T, bool kPacked>
struct ScaleRows {
  RowIndex index;
  const T* x;
  const float* b;
  T* z;
  int64_t cols;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const RowIndex::Offsets at = index(r);
    const float factor = b[at[1]];
    const Run v = load_run(x + (kPacked ? r * cols : at[0]) + c, n);
    store_run(z + r * cols + c, make_run([&](int j) { return v.v[j] * factor; }), n);
  }
};
template <class T>
struct FactorGradient {
  RowIndex index;
  const T *a, *dz;
  int64_t cols;
  DR_DEVICE auto operator()(int64_t r) const {
    return [d = dz + r * cols, x = a + index(r)[0]](float& acc, int64_t i) {
      acc = fma(load1(d + i), load1(x + i), acc);
    };
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Mul::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    if (in.a.sizes == in.b.sizes) return multiply<T>(ctx, in.a, in.b, out.z);
    const RowBlocks b = rows(in);
    for_runs(ctx, b.rows, b.cols,
             ScaleRows<T, false>{row_index(in), static_cast<const T*>(in.a.data), in.b.as<float>(),
                                 static_cast<T*>(out.z.data), b.cols});
  });
}

template <>
void Mul::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    if (in.a.sizes == in.b.sizes) {
      if (grad.a) multiply<T>(ctx, dy.z, in.b, grad.a);
      if (grad.b) multiply<T>(ctx, dy.z, in.a, grad.b);
      return;
    }
    const RowBlocks b = rows(in);
    const T* const dz = static_cast<const T*>(dy.z.data);
    if (grad.a)
      for_runs(ctx, b.rows, b.cols,
               ScaleRows<T, true>{row_index(in), dz, in.b.as<float>(), static_cast<T*>(grad.a.data), b.cols});
    if (grad.b)
      for_row_sums(ctx, b, FactorGradient<T>{row_index(in), static_cast<const T*>(in.a.data), dz, b.cols},
                   StoreSum{{grad.b.as<float>(), 1}});
  });
}

}  // namespace dr
