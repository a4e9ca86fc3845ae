#include "kernels/conv2d/depthwise.h"
#include "kernels/conv2d/patches.h"
#include "kernels/linear/linear_kernels.h"

namespace dr {
namespace DR_ISA {
namespace {

// The patches of 1x1 windows, all inside the image, are the image: rows of a matrix where its pixels are evenly spaced.
bool is_matrix(const View& image, const AxisTaps& h, const AxisTaps& w) {
  auto identity = [](const AxisTaps& a, int64_t size) {
    return a.taps() == 1 && a.offset[0] == 0 && a.step == 1 && a.count == size;
  };
  return identity(h, image.size(1)) && identity(w, image.size(2)) &&
         image.stride(1) == image.size(2) * image.stride(2) && image.stride(0) == image.size(1) * image.stride(1);
}
Operand matrix_of(const View& image, int64_t c0, bool transposed) {
  return {static_cast<const char*>(image.data) + c0 * int64_t(size_of(image.dtype)), image.dtype, image.stride(2),
          transposed};
}

// Calls f with the operand whose rows are the patches of one group's channels.
template <class F>
void with_patches(const View& image, const AxisTaps& h, const AxisTaps& w, int64_t c0, int64_t channels, F&& f) {
  if (is_matrix(image, h, w)) f(matrix_of(image, c0, false));
  else f(Patches(image, h, w, c0, channels));
}

// to[place, o0 + o] = epilogue(chain along the patch) for one group; weight: (patch, outputs).
template <class T, class Epilogue>
void convolve(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w, int64_t c0, int64_t channels,
              const Operand& weight, const View& to, int64_t o0, int64_t outputs, const Epilogue& epilogue) {
  const int64_t places = to.size(0) * h.count * w.count, inner = h.taps() * w.taps() * channels;
  T* const c = static_cast<T*>(to.data) + o0;
  with_patches(image, h, w, c0, channels, [&]<class A>(const A& patches) {
    if (h.out_step == 1 && w.out_step == 1) {
      gemm_batch(ctx, 1, places, outputs, inner, [&](int64_t) {
        return Problem<T, Epilogue, A>{patches, weight, c, to.stride(2), epilogue};
      });
    } else {
      gemm_batch(ctx, 1, places, outputs, inner, [&](int64_t) {
        return Problem<T, Epilogue, A, Operand, PlaceRows>{patches, weight, c, PlaceRows{to, h, w}, epilogue};
      });
    }
  });
}

// One group's weights as the matrix (tap, o) x c that dx multiplies dy's patches with.
template <class T>
void transpose_weight(const Context& ctx, const T* weight, const Sizes& k, const AxisTaps& h, const AxisTaps& w,
                      int64_t outputs, float* out) {
  ctx.parallel(h.taps() * w.taps() * outputs, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t tap = i / outputs, o = i % outputs;
      const int64_t kh = h.kernel[size_t(tap / w.taps())], kw = w.kernel[size_t(tap % w.taps())];
      copy_rows(1, k[3], weight + ((o * k[1] + kh) * k[2] + kw) * k[3], 0, out + i * k[3], 0);
    }
  });
}

// One filter per channel: to = sums + bias.
void convolve_channels(const Context& ctx, const View& image, const View& weight, const std::vector<DepthwisePhase>& phases,
               const View& to, const View& bias) {
  const int64_t channels = to.size(3), taps = weight.size(1) * weight.size(2);
  float* const filters = ctx.scratch_as<float>(size_t((channels + W - 1) / W * W * taps));
  with_float_type(weight.dtype, [&]<class TW>(TW*) {
    pack_filters(static_cast<const TW*>(weight.data), channels, taps, filters);
    with_float_type(to.dtype, [&]<class T>(T*) {
      depthwise_sums<T, T>(ctx, image, phases, filters, weight.size(1), weight.size(2), to, static_cast<const TW*>(bias.data));
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
    convolve_channels(ctx, in.x, in.weight, {DepthwisePhase{h, w}}, out.y, in.bias);
    return;
  }
  const int64_t outputs = k[0] / groups;
  const Operand weight{in.weight.data, in.weight.dtype, k[1] * k[2] * k[3], true};
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    with_bias(in.bias, [&]<class Bias>(Bias bias) {
      for (int64_t g = 0; g < groups; g++)
        convolve<T>(ctx, in.x, h, w, g * k[3], k[3], weight.block(0, g * outputs), out.y, g * outputs, outputs,
                    Bias{bias.bias ? bias.bias + g * outputs : nullptr});
    });
  });
}

template <>
void Conv2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  const Sizes x = in.x.sizes, k = in.weight.sizes, y = dy.y.sizes;
  const int64_t inner = k[1] * k[2] * k[3], outputs = k[0] / groups, channels = k[3];
  const bool fast = has_depthwise_kernel(*this, in);
  if (grad.x && fast) {
    std::vector<DepthwisePhase> phases;
    for (int64_t ph = 0; ph < std::min<int64_t>(stride.h, x[1]); ph++)
      for (int64_t pw = 0; pw < std::min<int64_t>(stride.w, x[2]); pw++)
        phases.push_back({gradient_taps(x[1], ph, k[1], stride.h, padding.top, 1),
                          gradient_taps(x[2], pw, k[2], stride.w, padding.left, 1)});
    convolve_channels(ctx, dy.y, in.weight, phases, grad.x, {});
  } else if (grad.x) {
    float* const weight = ctx.scratch_as<float>(size_t(outputs * inner));
    for (int64_t ph = 0; ph < std::min<int64_t>(stride.h, x[1]); ph++)
      for (int64_t pw = 0; pw < std::min<int64_t>(stride.w, x[2]); pw++) {
        const AxisTaps h = gradient_taps(x[1], ph, k[1], stride.h, padding.top, dilation.h);
        const AxisTaps w = gradient_taps(x[2], pw, k[2], stride.w, padding.left, dilation.w);
        for (int64_t g = 0; g < groups; g++) {
          with_float_type(in.weight.dtype, [&]<class T>(T*) {
            transpose_weight(ctx, static_cast<const T*>(in.weight.data) + g * outputs * inner, k, h, w, outputs,
                             weight);
          });
          with_float_type(grad.x.dtype, [&]<class T>(T*) {
            convolve<T>(ctx, dy.y, h, w, g * outputs, outputs, Matrix<float>(weight, channels), grad.x, g * channels,
                        channels, NoEpilogue{});
          });
        }
      }
  }
  const int64_t rows = y[0] * y[1] * y[2] / ctx.leaves;  // positions of a leaf
  CHECK(rows * ctx.leaves == y[0] * y[1] * y[2], "conv2d: {} samples do not divide into {} leaves", y[0], ctx.leaves);
  if (grad.weight && fast) {
    with_float_type(in.x.dtype, [&]<class T>(T*) {
      depthwise_filter_gradient<T, T>(ctx, in.x, forward_taps(y[1], k[1], stride.h, padding.top, 1),
                                      forward_taps(y[2], k[2], stride.w, padding.left, 1), dy.y,
                                      ctx.scratch_as<float>(depthwise_partial_floats(y[0], y[1] * y[2], k[1] * k[2], y[3])),
                                      static_cast<float*>(grad.weight.data));
    });
  } else if (grad.weight) {
    const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
    const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
    for (int64_t g = 0; g < groups; g++)
      with_patches(in.x, h, w, g * channels, channels, [&]<class B>(const B& patches) {
        const Operand d = matrix_of(dy.y, g * outputs, true);
        gemm_batch(ctx, ctx.leaves, outputs, inner, rows, [&](int64_t leaf) {
          return Problem<float, NoEpilogue, Operand, B>{
              d.block(0, leaf * rows), patches.block(leaf * rows, 0),
              static_cast<float*>(grad.weight.data) + (leaf * k[0] + g * outputs) * inner, inner};
        });
      });
  }
  if (grad.bias)
    with_float_type(dy.y.dtype, [&]<class T>(T*) {
      const T* d = static_cast<const T*>(dy.y.data);
      const int64_t pixel = dy.y.stride(2);
      column_chains(ctx, rows, grad.bias,
                    [&](f32v& sum, int64_t r, int64_t c, auto n) { sum += load_n(d + r * pixel + c, n); });
    });
}

}  // namespace dr
