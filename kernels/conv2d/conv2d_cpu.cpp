#include "kernels/conv2d/geometry.h"
#include "kernels/linear/linear_kernels.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPatchRows = 48;  // of patches gathered at a time

// Row i: the patch of place first + i, channels [c0, c0 + channels) of every tap.
template <class T>
void gather_patches(const View& image, const AxisTaps& h, const AxisTaps& w, int64_t c0, int64_t channels,
                    int64_t first, int64_t rows, float* out) {
  for (int64_t i = first; i < first + rows; i++) {
    const int64_t n = i / (h.count * w.count), th = i / w.count % h.count, tw = i % w.count;
    for (int64_t oh : h.offset)
      for (int64_t ow : w.offset) {
        const int64_t ih = th * h.step + oh, iw = tw * w.step + ow;
        const bool inside = ih >= 0 && ih < image.size(1) && iw >= 0 && iw < image.size(2);
        const T* pixel =
            static_cast<const T*>(image.data) +
            (inside ? n * image.stride(0) + ih * image.stride(1) + iw * image.stride(2) + c0 : 0);
        for_vectors(channels, [&](int64_t c, auto n) { store_n(out + c, inside ? load_n(pixel + c, n) : f32v{}, n); });
        out += channels;
      }
  }
}

// to[n, place of (th,tw), o0 + o] = epilogue(.., o0 + o, chain along (taps, channels of the group)) for one group.
template <class T, class Epilogue>
void gather_convolution(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w, int64_t c0,
                        int64_t channels, const Operand& weight, const View& to, int64_t o0, int64_t outputs,
                        const Epilogue& epilogue) {
  const int64_t places = to.size(0) * h.count * w.count, inner = h.taps() * w.taps() * channels;
  ctx.parallel((places + kPatchRows - 1) / kPatchRows, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> patches(size_t(kPatchRows * inner)), sums(size_t(kPatchRows * outputs));
    for (int64_t block = begin; block < end; block++) {
      const int64_t first = block * kPatchRows, rows = std::min(kPatchRows, places - first);
      with_float_type(image.dtype, [&]<class TI>(TI*) {
        gather_patches<TI>(image, h, w, c0, channels, first, rows, patches.data());
      });
      gemm(rows, outputs, inner, Matrix<float>(patches.data(), inner), weight, sums.data(), outputs);
      for (int64_t r = 0; r < rows; r++) {
        const int64_t i = first + r, n = i / (h.count * w.count);
        T* const y = static_cast<T*>(to.data) + n * to.stride(0) +
                     (h.out_first + i / w.count % h.count * h.out_step) * to.stride(1) +
                     (w.out_first + i % w.count * w.out_step) * to.stride(2) + o0;
        for_vectors(outputs, [&](int64_t o, auto n) {
          store_n(y + o, epilogue(i, o0 + o, load_n(sums.data() + r * outputs + o, n), n), n);
        });
      }
    }
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Conv2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Sizes k = in.weight.sizes, y = out.y.sizes;
  // if (depthwise(in)): depthwise.h
  const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
  const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
  const int64_t inner = k[1] * k[2] * k[3], outputs = k[0] / groups;
  const Operand weight{in.weight.data, in.weight.dtype, inner, true};
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    with_bias(in.bias, [&](auto add_bias) {
      for (int64_t g = 0; g < groups; g++)
        gather_convolution<T>(ctx, in.x, h, w, g * k[3], k[3], weight.block(0, g * outputs), out.y, g * outputs,
                              outputs, add_bias);
    });
  });
}

template <>
void Conv2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  const Sizes k = in.weight.sizes, y = dy.y.sizes;
  const int64_t inner = k[1] * k[2] * k[3], outputs = k[0] / groups, channels = k[3];
  if (grad.x) {
    // if (depthwise(in)): depthwise.h
    for (int64_t ph = 0; ph < std::min<int64_t>(stride.h, in.x.size(1)); ph++)
      for (int64_t pw = 0; pw < std::min<int64_t>(stride.w, in.x.size(2)); pw++) {
        const AxisTaps h = gradient_taps(in.x.size(1), ph, k[1], stride.h, padding.top, dilation.h);
        const AxisTaps w = gradient_taps(in.x.size(2), pw, k[2], stride.w, padding.left, dilation.w);
        std::vector<float> weight(size_t(h.taps() * w.taps() * outputs * channels));
        for (int64_t g = 0; g < groups; g++) {
          with_float_type(in.weight.dtype, [&]<class TW>(TW*) {
            float* to = weight.data();
            for (int64_t kh : h.kernel)
              for (int64_t kw : w.kernel)
                for (int64_t o = g * outputs; o < (g + 1) * outputs; o++)
                  for (int64_t c = 0; c < channels; c++)
                    *to++ =
                        load1(static_cast<const TW*>(in.weight.data) + ((o * k[1] + kh) * k[2] + kw) * channels + c);
          });
          with_float_type(grad.x.dtype, [&]<class T>(T*) {
            gather_convolution<T>(ctx, dy.y, h, w, g * outputs, outputs, Matrix<float>(weight.data(), channels), grad.x,
                                  g * channels, channels, NoEpilogue{});
          });
        }
      }
  }
  const int64_t rows = y[0] * y[1] * y[2] / ctx.leaves;
  CHECK(rows * ctx.leaves == y[0] * y[1] * y[2], "conv2d: {} samples do not divide into {} leaves", y[0], ctx.leaves);
  if (grad.weight) {
    // if (depthwise(in)): depthwise.h
    const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
    const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
    const Operand d{dy.y.data, dy.y.dtype, dy.y.stride(2), true};
    ctx.parallel(ctx.leaves * groups, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> patches(size_t(rows * inner));
      for (int64_t i = begin; i < end; i++) {
        const int64_t leaf = i / groups, g = i % groups;
        with_float_type(in.x.dtype, [&]<class TX>(TX*) {
          gather_patches<TX>(in.x, h, w, g * channels, channels, leaf * rows, rows, patches.data());
        });
        gemm(outputs, inner, rows, d.block(g * outputs, leaf * rows), Matrix<float>(patches.data(), inner),
             static_cast<float*>(grad.weight.data) + (leaf * k[0] + g * outputs) * inner, inner);
      }
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
