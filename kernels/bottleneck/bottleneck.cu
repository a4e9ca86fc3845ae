#include "kernels/bottleneck/bottleneck.h"
#include "kernels/bottleneck/feature_rows.h"

#include "kernels/core/gpu_philox.h"
#include "kernels/core/gpu_strided.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// A thread takes the elements of one block of random numbers, which may lie in several rows.
template <class T>
struct AddNoise {
  FeatureRows rows;
  RandomElements random;
  const T* x;
  int64_t stride;  // between samples of x
  const float *sigma, *mean, *inv_std;  // mean null: not normalised
  T* y;

  DR_DEVICE Run normalised(const Run& v, int64_t c, int n) const {
    if (!mean) return v;
    const Run m = load_run(mean + c, n), s = load_run(inv_std + c, n);
    return make_run([&](int j) { return (v.v[j] - m.v[j]) * s.v[j]; });
  }
  DR_DEVICE void operator()(const BlockPart& part) const {
    const float noise = *sigma;
    Run n{};
    const int64_t first = part.i + part.from, r = first / rows.cols, c = first % rows.cols;
    if (part.whole() && c + kRun <= rows.cols) {
      n = normalised(load_run(x + rows.offset(stride, r) + c, kRun), c, kRun);
    } else {
      DR_UNROLL
      for (int j = 0; j < kRun; j++) {
        if (j < part.from || j >= part.to) continue;
        const int64_t row = (part.i + j) / rows.cols, col = (part.i + j) % rows.cols;
        n.v[j] = normalised(load_run(x + rows.offset(stride, row) + col, 1), col, 1).v[0];
      }
    }
    if (noise != 0) {
      const Run z = normals(random.block(part.block));
      n = make_run([&](int j) { return fma(noise, z.v[j], n.v[j]); });
    }
    store_part(y, n, part);
  }
};

template <class T>
struct Scale {
  const T* dy;
  const float* inv_std;
  T* dx;
  int64_t cols;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const Run d = load_run(dy + r * cols + c, n), s = load_run(inv_std + c, n);
    store_run(dx + r * cols + c, make_run([&](int j) { return d.v[j] * s.v[j]; }), n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GaussianBottleneck::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "bottleneck: y must be packed, got {} with gaps", to_string(out.y));
  const uint64_t first = ctx.first_sample * uint64_t(count / in.x.size(0));
  const RandomElements random{in.rng.as<uint32_t>(), ctx.op_id, first};
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_random_blocks(ctx, first, count,
                      AddNoise<T>{FeatureRows(in), random, static_cast<const T*>(in.x.data), in.x.stride(0),
                                  in.sigma.as<float>(), in.mean ? in.mean.as<float>() : nullptr,
                                  in.mean ? in.inv_std.as<float>() : nullptr, static_cast<T*>(out.y.data)});
  });
}

template <>
void GaussianBottleneck::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                            const Grad& grad) const {
  if (!grad.x || in.x.count() == 0) return;
  CHECK(dout.y.packed() && grad.x.packed(), "bottleneck: gradients must be packed");
  if (!in.mean) return copy_view(ctx, dout.y, grad.x);
  const FeatureRows rows(in);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs(ctx, rows.rows, rows.cols,
             Scale<T>{static_cast<const T*>(dout.y.data), in.inv_std.as<float>(), static_cast<T*>(grad.x.data),
                      rows.cols});
  });
}

}  // namespace dr
