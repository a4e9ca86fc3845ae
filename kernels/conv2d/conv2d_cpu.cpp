#include "kernels/conv2d/depthwise.h"
#include "kernels/conv2d/few_inputs.h"
#include "kernels/conv2d/few_outputs.h"
#include "kernels/conv2d/patches.h"
#include "kernels/linear/linear_kernels.h"

namespace dr {
namespace DR_ISA {
namespace {

// Where a group's results go: `count` channels of `to` from the first on, at the places of the patches.
struct Outputs {
  const View& to;
  int64_t first, count;
};

// out[place, o] = epilogue(chain along the patch) for one group; weight: (column of the patch, o).
template <class T, class Epilogue>
void convolve(const Context& ctx, const Patches& patches, const Operand& weight, const Outputs& out,
              const Epilogue& epilogue) {
  T* const c = static_cast<T*>(out.to.data) + out.first;
  auto multiply = [&]<class A, class Rows>(const A& a, const Rows& rows) {
    gemm_batch(ctx, 1, patches.rows(), out.count, patches.columns(), [&](int64_t) {
      return Problem<T, Epilogue, A, Operand, Rows>{a, weight, c, rows, epilogue};
    });
  };
  if (patches.fill(out.to)) {
    const EvenRows rows(out.to.stride(2));
    if (patches.is_matrix()) multiply(patches.matrix(), rows);
    else multiply(patches, rows);
  } else {
    multiply(patches, patches.rows_in(out.to));
  }
}

// The pixels of a tensor, evenly spaced, as one row.
View as_one_row(const View& v) {
  View row = v;
  row.sizes = {1, 1, v.size(0) * v.size(1) * v.size(2), v.size(3)};
  return row;
}

// The same for few outputs, all phases at once, from channels [c0, c0 + channels) of the image: whether it was done.
// pack writes the weights as FewOutputs takes them.
template <class T, class Epilogue, class Pack>
bool convolve_few(const Context& ctx, const View& image, int64_t c0, int64_t channels, const Phases& phases,
                  const Outputs& out, const Epilogue& epilogue, Pack&& pack) {
  if (out.count > kFewOutputs || out.to.count() == 0) return false;
  const Patches patches(image, phases.h[0], phases.w[0], c0, channels);
  const bool one_row = patches.is_matrix() && patches.fill(out.to);
  const int64_t places = one_row ? patches.rows() : phases.w[0].count;
  if (places <= out.count) return false;  // they would leave as many lanes empty
  if (one_row) {
    const AxisTaps pixel{.count = 1, .offset = {0}, .kernel = {0}}, row{.count = places, .offset = {0}, .kernel = {0}};
    const View from = as_one_row(image), to = as_one_row(out.to);
    FewOutputs<T, Epilogue>(from, c0, channels, {{pixel}, {row}}, pack(), to, out.first, out.count, epilogue)(ctx);
  } else {
    FewOutputs<T, Epilogue>(image, c0, channels, phases, pack(), out.to, out.first, out.count, epilogue)(ctx);
  }
  return true;
}

// The weights of a group with few outputs as FewOutputs takes them.
const float* pack_few(const Context& ctx, const Operand& weight, int64_t columns, int64_t outputs) {
  float* const packed = ctx.scratch_as<float>(size_t(columns * outputs));
  with_float_type(weight.dtype, [&]<class T>(T*) {
    ctx.parallel(columns, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t o = 0; o < outputs; o++)
        for (int64_t i = begin; i < end; i++) packed[i * outputs + o] = load1(weight.at<T>(i, o));
    });
  });
  return packed;
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
  const Phases phases = gradient_phases(op, dx.sizes, k);
  float* const transposed = ctx.scratch_as<float>(size_t(outputs * inner));
  for (int64_t g = 0; g < op.groups; g++) {
    auto transpose = [&](const AxisTaps& h, const AxisTaps& w, float* to) {
      with_float_type(weight.dtype, [&]<class T>(T*) {
        transpose_weight(ctx, static_cast<const T*>(weight.data) + g * outputs * inner, k, h, w, outputs, to);
      });
    };
    auto transpose_all = [&] {
      float* to = transposed;
      for (const AxisTaps& h : phases.h)
        for (const AxisTaps& w : phases.w) transpose(h, w, to), to += h.taps() * w.taps() * outputs * channels;
      return transposed;
    };
    const Outputs out{dx, g * channels, channels};
    with_float_type(dx.dtype, [&]<class T>(T*) {
      if (convolve_few<T>(ctx, dy, g * outputs, outputs, phases, out, NoEpilogue{}, transpose_all)) return;
      for (const AxisTaps& h : phases.h)
        for (const AxisTaps& w : phases.w) {
          transpose(h, w, transposed);
          convolve<T>(ctx, Patches(dy, h, w, g * outputs, outputs), Matrix<float>(transposed, channels), out,
                      NoEpilogue{});
        }
    });
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
    if (patches.is_matrix()) multiply(patches.matrix());
    else multiply(patches);
  }
}

// One filter per channel: to = sums + bias.
void convolve_channels(const Context& ctx, const View& image, const View& weight, const Phases& phases,
                       const View& to, const View& bias) {
  const int64_t channels = to.size(3), taps = weight.size(1) * weight.size(2);
  float* const filters = ctx.scratch_as<float>(size_t((channels + W - 1) / W * W * taps));
  with_float_type(weight.dtype, [&]<class TW>(TW*) {
    pack_filters(static_cast<const TW*>(weight.data), channels, taps, filters);
    with_float_type(to.dtype, [&]<class T>(T*) {
      DepthwiseSums<T, TW>(image, phases, filters, weight.size(1), weight.size(2), to,
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
  const int64_t outputs = k[0] / groups, columns = k[1] * k[2] * k[3];
  if (has_few_inputs(*this, in, y)) {
    with_float_type(out.y.dtype, [&]<class T>(T*) {
      with_float_type(in.weight.dtype, [&]<class TW>(TW*) {
        convolve_lines<T>(ctx, in.x, h, w, static_cast<const TW*>(in.weight.data), static_cast<const TW*>(in.bias.data),
                          ctx.scratch_as<float>(size_t((outputs + W - 1) / W * W * columns)), out.y);
      });
    });
    return;
  }
  const Operand weight{in.weight.data, in.weight.dtype, columns, true};
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    with_bias(in.bias, [&]<class Bias>(Bias bias) {
      for (int64_t g = 0; g < groups; g++) {
        const Operand filters = weight.block(0, g * outputs);
        const Outputs to{out.y, g * outputs, outputs};
        const Bias epilogue{bias.bias ? bias.bias + g * outputs : nullptr};
        if (!convolve_few<T>(ctx, in.x, g * k[3], k[3], {{h}, {w}}, to, epilogue,
                             [&] { return pack_few(ctx, filters, columns, outputs); }))
          convolve<T>(ctx, Patches(in.x, h, w, g * k[3], k[3]), filters, to, epilogue);
      }
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
    convolve_channels(ctx, dy.y, in.weight, gradient_phases(*this, x, k), grad.x, {});
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
