#include "kernels/conv2d/depthwise.h"
#include "kernels/conv2d/few_inputs.h"
#include "kernels/conv2d/patches.h"
#include "kernels/linear/linear_kernels.h"

namespace dr {
namespace DR_ISA {
namespace {

static_assert(W / 2 <= Conv2d::kFew);

// Where a group's results go: `count` channels of `to` from the first on, at the places of the patches.
struct Outputs {
  const View& to;
  int64_t first, count;
};

// Few outputs would leave most lanes of a vector empty: here the places go along the lanes. sums: outputs x places.
template <class T, class Epilogue>
void convolve_across(const Context& ctx, const Patches& patches, const Operand& weight, const Outputs& out,
                     const Epilogue& epilogue, float* sums) {
  const int64_t places = patches.rows();
  const Operand filters{weight.data, weight.dtype, weight.ld, !weight.transposed};
  auto multiply = [&]<class B>(const B& columns) {
    gemm_batch(ctx, 1, out.count, places, patches.columns(), [&](int64_t) {
      return Problem<float, NoEpilogue, Operand, B>{filters, columns, sums, places};
    });
  };
  if (patches.is_matrix()) multiply(patches.matrix(true));
  else multiply(PatchesAcross{patches});
  constexpr int64_t kPlaces = 256;  // of parallel work: about ten microseconds
  ctx.parallel((places + kPlaces - 1) / kPlaces, 1, [&](int64_t begin, int64_t end) {
    int64_t offset[kPlaces];
    for (int64_t first = begin * kPlaces; first < std::min(end * kPlaces, places); first += kPlaces) {
      const int64_t count = std::min(kPlaces, places - first);
      patches.rows_in(out.to).offsets(first, count, offset);
      for (int64_t i = 0; i < count; i++) {
        f32v v{};
        for (int64_t o = 0; o < out.count; o++) v[o] = sums[o * places + first + i];
        store_n(static_cast<T*>(out.to.data) + offset[i] + out.first, epilogue(first + i, 0, v, int(out.count)),
                int(out.count));
      }
    }
  });
}

// out[place, o] = epilogue(chain along the patch) for one group; weight: (column of the patch, o). scratch: where there
// are at most Conv2d::kFew outputs, room for them at every place.
template <class T, class Epilogue>
void convolve(const Context& ctx, const Patches& patches, const Operand& weight, const Outputs& out,
              const Epilogue& epilogue, float* scratch) {
  if (out.count <= W / 2) return convolve_across<T>(ctx, patches, weight, out, epilogue, scratch);
  T* const c = static_cast<T*>(out.to.data) + out.first;
  auto multiply = [&]<class A, class Rows>(const A& a, const Rows& rows) {
    gemm_batch(ctx, 1, patches.rows(), out.count, patches.columns(), [&](int64_t) {
      return Problem<T, Epilogue, A, Operand, Rows>{a, weight, c, rows, epilogue};
    });
  };
  if (patches.fill(out.to)) {
    const EvenRows rows(out.to.stride(2));
    if (patches.is_matrix()) multiply(patches.matrix(false), rows);
    else multiply(patches, rows);
  } else {
    multiply(patches, patches.rows_in(out.to));
  }
}

// One group's weights as the matrix (tap, o) x c that dx multiplies dy's patches with.
template <class T>
void transpose_weight(const Context& ctx, const T* weight, const Sizes& k, const AxisTaps& h, const AxisTaps& w,
                      int64_t outputs, float* out) {
  ctx.parallel(h.taps() * w.taps() * outputs, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t tap = i / outputs, o = i % outputs;
      const int64_t kh = h.kernel[size_t(tap / w.taps())], kw = w.kernel[size_t(tap % w.taps())];
      const T* const row = weight + ((o * k[1] + kh) * k[2] + kw) * k[3];
      for_vectors(k[3], [&](int64_t c, auto n) { store_n(out + i * k[3] + c, load_n(row + c, n), n); });
    }
  });
}

void input_gradient(const Context& ctx, const Conv2d& op, const View& weight, const View& dy, const View& dx) {
  const Sizes k = weight.sizes;
  const int64_t outputs = k[0] / op.groups, channels = k[3], inner = k[1] * k[2] * channels;
  float* const transposed = ctx.scratch_as<float>(size_t(outputs * inner));
  float* const rest = transposed + outputs * inner;
  for (int64_t ph = 0; ph < std::min<int64_t>(op.stride.h, dx.size(1)); ph++)
    for (int64_t pw = 0; pw < std::min<int64_t>(op.stride.w, dx.size(2)); pw++) {
      const AxisTaps h = gradient_taps(dx.size(1), ph, k[1], op.stride.h, op.padding.top, op.dilation.h);
      const AxisTaps w = gradient_taps(dx.size(2), pw, k[2], op.stride.w, op.padding.left, op.dilation.w);
      for (int64_t g = 0; g < op.groups; g++) {
        with_float_type(weight.dtype, [&]<class T>(T*) {
          transpose_weight(ctx, static_cast<const T*>(weight.data) + g * outputs * inner, k, h, w, outputs, transposed);
        });
        with_float_type(dx.dtype, [&]<class T>(T*) {
          convolve<T>(ctx, Patches(dy, h, w, g * outputs, outputs), Matrix<float>(transposed, channels),
                      {dx, g * channels, channels}, NoEpilogue{}, rest);
        });
      }
    }
}

// x's patches as of forward, `rows` positions a leaf.
void weight_gradient(const Context& ctx, const Conv2d& op, const View& x, const AxisTaps& h, const AxisTaps& w,
                     int64_t rows, const View& dy, const View& dweight) {
  const int64_t pixel = flat_rows(dy, "conv2d: dy").stride;
  const int64_t outputs = dweight.size(1) / op.groups, channels = dweight.size(4);
  for (int64_t g = 0; g < op.groups; g++) {
    const Patches patches(x, h, w, g * channels, channels);
    const Operand dy_transposed{static_cast<const char*>(dy.data) + g * outputs * int64_t(size_of(dy.dtype)), dy.dtype,
                                pixel, true};
    auto multiply = [&]<class B>(const B& b) {
      gemm_batch(ctx, ctx.leaves, outputs, patches.columns(), rows, [&](int64_t leaf) {
        return Problem<float, NoEpilogue, Operand, B>{
            dy_transposed.block(0, leaf * rows), b.block(leaf * rows, 0),
            static_cast<float*>(dweight.data) + leaf * dweight.stride(0) + g * outputs * dweight.stride(1),
            dweight.stride(1)};
      });
    };
    if (patches.is_matrix()) multiply(patches.matrix(false));
    else multiply(patches);
  }
}

// One filter per channel: to = sums + bias.
void convolve_channels(const Context& ctx, const View& image, const View& weight, const DepthwisePlaces& places,
                       const View& to, const View& bias) {
  const int64_t channels = to.size(3), taps = weight.size(1) * weight.size(2);
  float* const filters = ctx.scratch_as<float>(size_t((channels + W - 1) / W * W * taps));
  with_float_type(weight.dtype, [&]<class TW>(TW*) {
    pack_filters(static_cast<const TW*>(weight.data), channels, taps, filters);
    with_float_type(to.dtype, [&]<class T>(T*) {
      DepthwiseSums<T, TW>(image, places, filters, weight.size(1), weight.size(2), to,
                           static_cast<const TW*>(bias.data))(ctx);
    });
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Conv2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Sizes k = in.weight.sizes, y = out.y.sizes;
  const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
  const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
  if (has_depthwise_kernel(*this, in)) {
    convolve_channels(ctx, in.x, in.weight, {{h}, {w}}, out.y, in.bias);
    return;
  }
  if (has_few_inputs(*this, in, y)) {
    with_float_type(out.y.dtype, [&]<class T>(T*) {
      with_float_type(in.weight.dtype, [&]<class TW>(TW*) {
        convolve_lines<T>(ctx, in.x, h, w, static_cast<const TW*>(in.weight.data), static_cast<const TW*>(in.bias.data),
                          ctx.scratch_as<float>(size_t((k[0] + W - 1) / W * W * k[1] * k[2] * k[3])), out.y);
      });
    });
    return;
  }
  const int64_t outputs = k[0] / groups;
  const Operand weight{in.weight.data, in.weight.dtype, k[1] * k[2] * k[3], true};
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    with_bias(in.bias, [&]<class Bias>(Bias bias) {
      for (int64_t g = 0; g < groups; g++)
        convolve<T>(ctx, Patches(in.x, h, w, g * k[3], k[3]), weight.block(0, g * outputs),
                    {out.y, g * outputs, outputs}, Bias{bias.bias ? bias.bias + g * outputs : nullptr},
                    ctx.scratch_as<float>(0));
    });
  });
}

template <>
void Conv2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  const Sizes x = in.x.sizes, k = in.weight.sizes, y = dy.y.sizes;
  const bool depthwise = has_depthwise_kernel(*this, in);
  const int64_t rows = y[0] * y[1] * y[2] / ctx.leaves;  // positions of a leaf
  CHECK(rows * ctx.leaves == y[0] * y[1] * y[2], "conv2d: {} samples do not divide into {} leaves", y[0], ctx.leaves);
  if (grad.x && depthwise) {
    DepthwisePlaces places;
    for (int64_t p = 0; p < std::min<int64_t>(stride.h, x[1]); p++)
      places.h.push_back(gradient_taps(x[1], p, k[1], stride.h, padding.top, 1));
    for (int64_t p = 0; p < std::min<int64_t>(stride.w, x[2]); p++)
      places.w.push_back(gradient_taps(x[2], p, k[2], stride.w, padding.left, 1));
    convolve_channels(ctx, dy.y, in.weight, places, grad.x, {});
  } else if (grad.x) {
    input_gradient(ctx, *this, in.weight, dy.y, grad.x);
  }
  if (grad.weight) {
    const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
    const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
    if (depthwise) {
      float* const partial = ctx.scratch_as<float>(depthwise_partial_floats(y[0], y[1] * y[2], k[1] * k[2], y[3]));
      with_float_type(in.x.dtype, [&]<class T>(T*) {
        depthwise_filter_gradient<T>(ctx, in.x, h, w, dy.y, partial, static_cast<float*>(grad.weight.data),
                                     static_cast<float*>(grad.bias.data));
      });
    } else {
      weight_gradient(ctx, *this, in.x, h, w, rows, dy.y, grad.weight);
    }
  }
  if (grad.bias && !(depthwise && grad.weight))
    with_float_type(dy.y.dtype, [&]<class T>(T*) {
      const T* d = static_cast<const T*>(dy.y.data);
      const int64_t pixel = flat_rows(dy.y, "conv2d: dy").stride;
      column_chains(ctx, rows, grad.bias,
                    [&](f32v& sum, int64_t r, int64_t c, auto n) { sum += load_n(d + r * pixel + c, n); });
    });
}

}  // namespace dr
