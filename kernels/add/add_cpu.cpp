#include "kernels/add/add.h"
#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kElementsPerPiece = 16384;  // of parallel work: a few microseconds

// Where a row of each View starts: rows are the runs that are contiguous in all of them.
template <size_t N>
struct Rows {
  std::array<const View*, N> v;
  int axes;           // leading axes that count rows
  int64_t rows = 1, cols = 1;

  explicit Rows(std::array<const View*, N> views) : v(views), axes(views[0]->rank()) {
    const auto contiguous = [&](int axis) {
      for (const View* x : v)
        if (x->stride(axis) != cols) return false;
      return true;
    };
    while (axes > 0 && (v[0]->size(axes - 1) == 1 || contiguous(axes - 1))) cols *= v[0]->size(--axes);
    for (int i = 0; i < axes; i++) rows *= v[0]->size(i);
  }
  int64_t offset(size_t view, int64_t row) const {
    int64_t at = 0;
    for (int i = axes - 1; i >= 0; row /= v[0]->size(i), i--) at += row % v[0]->size(i) * v[view]->stride(i);
    return at;
  }
};

// f(begin of each View's run, elements) over all elements, in parallel.
template <size_t N, class F>
void for_rows(const Context& ctx, std::array<const View*, N> views, F&& f) {
  if (views[0]->count() == 0) return;
  const Rows<N> r(views);
  std::array<int64_t, N> at{};
  if (r.rows == 1) {
    ctx.parallel(r.cols, kElementsPerPiece, [&](int64_t b, int64_t e) {
      std::array<int64_t, N> begin;
      begin.fill(b);
      f(begin, e - b);
    });
    return;
  }
  const int64_t grain = kElementsPerPiece / r.cols;
  ctx.parallel(r.rows, grain, [&, at](int64_t b, int64_t e) mutable {
    for (int64_t row = b; row < e; row++) {
      for (size_t i = 0; i < N; i++) at[i] = r.offset(i, row);
      f(at, r.cols);
    }
  });
}

template <class T>
void copy(const Context& ctx, const View& from, const View& to) {
  for_rows<2>(ctx, {&from, &to}, [&](const std::array<int64_t, 2>& at, int64_t n) {
    std::memcpy(static_cast<T*>(to.data) + at[1], static_cast<const T*>(from.data) + at[0], size_t(n) * sizeof(T));
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Add::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const bool stream = streams(out.z) && out.z.data != in.a.data && out.z.data != in.b.data;
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    for_rows<3>(ctx, {&in.a, &in.b, &out.z}, [&](const std::array<int64_t, 3>& at, int64_t count) {
      const T* a = static_cast<const T*>(in.a.data) + at[0];
      const T* b = static_cast<const T*>(in.b.data) + at[1];
      T* z = static_cast<T*>(out.z.data) + at[2];
      for_vectors(count, [&](int64_t i, auto n) { put(z + i, load_n(a + i, n) + load_n(b + i, n), n, stream); });
      stream_fence(stream);
    });
  });
}

template <>
void Add::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    if (grad.a) copy<T>(ctx, dy.z, grad.a);
    if (grad.b) copy<T>(ctx, dy.z, grad.b);
  });
}

}  // namespace dr
