#include "kernels/conv2d/geometry.h"
#include "kernels/linear/linear.h"

#include "kernels/conv2d/gpu_thin.h"
#include "kernels/conv2d/gpu_windows.h"
#include "kernels/linear/gpu_linear.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The patches of an image as a matrix: A has a row for each place, B for each place of a leaf; a column for each tap
// and channel of the problem's group. Problem l G + g is group g of leaf l.
struct Patches {
  struct First {
    int64_t channel0;
    uint32_t place0;
  };
  struct Problems {
    int64_t groups, channels, leaf_places;
    DR_DEVICE First operator()(int64_t i) const { return {i % groups * channels, uint32_t(i / groups * leaf_places)}; }
  };
  Windows windows;
  Problems batch;
};
struct PatchesAsA : Patches {
  DR_DEVICE float operator()(const First& first, int64_t place, int64_t column) const {
    return windows.at(windows.place(uint32_t(place)), windows.tap(uint32_t(column)), first.channel0);
  }
};
struct PatchesAsB : Patches {
  DR_DEVICE float operator()(const First& first, int64_t place, int64_t column) const {
    return windows.at(windows.place(first.place0 + uint32_t(place)), windows.tap(uint32_t(column)), first.channel0);
  }
};

// A group's weights as the matrix (tap, o) x c that the patches of dy are multiplied with to give dx.
struct FiltersBack {
  struct Groups {
    int64_t elements;
    DR_DEVICE int64_t operator()(int64_t g) const { return g * elements; }
  };
  Operand weight;
  AxisWalk h, w;
  Divisor outputs, taps_w;
  int64_t width, channels, filter;  // filter: elements of one
  Groups batch;
  DR_DEVICE float operator()(int64_t first, int64_t k, int64_t c) const {
    const auto [taps, o] = outputs(uint32_t(k));
    const auto [y, x] = taps_w(taps);
    return weight(first, o, (h.kernel_at(int(y)) * width + w.kernel_at(int(x))) * channels + c);
  }
};

// Channel `channel0 + n` of the place of the result that place m stands for.
struct StorePlaces {
  struct Groups {
    int64_t channels;
    DR_DEVICE int64_t operator()(int64_t g) const { return g * channels; }
  };
  StoreMatrix to;
  Windows windows;
  int64_t stride_n, stride_h, stride_w;
  Groups batch;
  DR_DEVICE void operator()(int64_t channel0, int64_t m, int64_t n, float v) const {
    const Windows::Place p = windows.place(uint32_t(m));
    to({p.n * stride_n + windows.h.out(p.h) * stride_h + windows.w.out(p.w) * stride_w + channel0, 0}, 0, n, v);
  }
};

BatchOffset by_leaf_and_group(int64_t leaves, int64_t leaf_stride, int64_t groups, int64_t group_stride) {
  return {{1, 1, leaves, groups}, {0, 0, leaf_stride, group_stride}};
}

bool evenly_spaced(const View& image) {
  return image.stride(1) == image.size(2) * image.stride(2) && image.stride(0) == image.size(1) * image.stride(1);
}
// Whether the places of an image are its pixels, evenly spaced, each the only one of its window.
bool are_pixels(const View& image, const AxisTaps& h, const AxisTaps& w) {
  const auto all = [](const AxisTaps& a, int64_t size) {
    return a.taps() == 1 && a.step == 1 && a.offset[0] == 0 && a.count == size && a.out_step == 1;
  };
  return all(h, image.size(1)) && all(w, image.size(2)) && evenly_spaced(image);
}
// The pixels as a matrix, a group of `channels` after the other.
Operand pixels_of(const View& image, int64_t groups, int64_t channels, int64_t leaves = 1, int64_t leaf_pixels = 0) {
  return {image.data, image.dtype == DType::bf16, false, image.stride(2),
          by_leaf_and_group(leaves, leaf_pixels * image.stride(2), groups, channels)};
}
StoreMatrix store_pixels(const View& image, int64_t groups, int64_t channels) {
  return {image.data, image.dtype == DType::bf16, image.stride(2),
          {by_leaf_and_group(1, 0, groups, channels), channels}};
}

void input_gradient(const Context& ctx, const Conv2d& op, const View& weight, const View& dy, const View& dx) {
  const Sizes k = weight.sizes;
  const int64_t outputs = k[0] / op.groups, channels = k[3], filter = k[1] * k[2] * channels;
  const Phases phases = gradient_phases(op, dx.sizes, k);
  Operand weights{weight.data, weight.dtype == DType::bf16, false, filter, {}};
  if (phases.h.size() == 1 && phases.w.size() == 1 && are_pixels(dy, phases.h[0], phases.w[0]) && evenly_spaced(dx)) {
    weights.batch = by_leaf_and_group(1, 0, op.groups, outputs * filter);
    return multiply(ctx, op.groups, dx.count() / dx.size(3), channels, outputs, pixels_of(dy, op.groups, outputs),
                    weights, store_pixels(dx, op.groups, channels), gemm_scratch(ctx));
  }
  for (const AxisTaps& h : phases.h)
    for (const AxisTaps& w : phases.w) {
      const Windows windows(dy, h, w, outputs);
      const StorePlaces store{{dx.data, dx.dtype == DType::bf16, 0, {}}, windows, dx.stride(0), dx.stride(1),
                              dx.stride(2), {channels}};
      const FiltersBack filters{weights, windows.h, windows.w, windows.channels, windows.taps_w, k[2], channels, filter,
                                {outputs * filter}};
      const GemmShape shape{.batch = op.groups, .m = dx.size(0) * h.count * w.count, .n = channels,
                            .k = h.taps() * w.taps() * outputs, .a_along_k = true, .b_along_k = false};
      gemm(ctx, shape, PatchesAsA{{windows, {op.groups, outputs, 0}}}, filters, store, gemm_scratch(ctx));
    }
}

void weight_gradient(const Context& ctx, const Conv2d& op, const View& x, const AxisTaps& h, const AxisTaps& w,
                     const View& dy, const View& dweight) {
  const int64_t groups = op.groups, outputs = dweight.size(1) / groups, channels = dweight.size(4), leaves = ctx.leaves;
  const int64_t rows = x.size(0) * h.count * w.count / leaves, pixel = flat_rows(dy, "conv2d: dy").stride;
  const Operand dy_transposed{dy.data, dy.dtype == DType::bf16, true, pixel,
                              by_leaf_and_group(leaves, rows * pixel, groups, outputs)};
  const StoreMatrix store{dweight.data, false, dweight.stride(1),
                          {by_leaf_and_group(leaves, dweight.stride(0), groups, outputs * dweight.stride(1)), 0}};
  const GemmShape shape{.batch = leaves * groups, .m = outputs, .n = h.taps() * w.taps() * channels, .k = rows,
                        .a_along_k = false, .b_along_k = false};
  if (are_pixels(x, h, w))
    multiply(ctx, shape.batch, shape.m, shape.n, shape.k, dy_transposed, pixels_of(x, groups, channels, leaves, rows),
             store, gemm_scratch(ctx));
  else
    gemm(ctx, shape, dy_transposed, PatchesAsB{{Windows(x, h, w, channels), {groups, channels, rows}}}, store,
         gemm_scratch(ctx));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Conv2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Sizes k = in.weight.sizes, y = out.y.sizes;
  const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
  const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
  if (is_thin(groups, k[0] / groups))
    return window_sums(ctx, in.x, {{h}, {w}}, pack_filters(ctx, in.weight, groups, false), k[2], in.bias, out.y);
  const int64_t outputs = k[0] / groups, channels = k[3], columns = k[1] * k[2] * channels;
  const Operand weight{in.weight.data, in.weight.dtype == DType::bf16, true, columns,
                       by_leaf_and_group(1, 0, groups, outputs * columns)};
  StoreMatrix store = store_pixels(out.y, groups, outputs);
  add_bias(store, in.bias);
  const GemmShape shape{.batch = groups, .m = y[0] * y[1] * y[2], .n = outputs, .k = columns,
                        .a_along_k = true, .b_along_k = true};
  if (are_pixels(in.x, h, w))
    multiply(ctx, groups, shape.m, shape.n, shape.k, pixels_of(in.x, groups, channels), weight, store,
             gemm_scratch(ctx));
  else
    gemm(ctx, shape, PatchesAsA{{Windows(in.x, h, w, channels), {groups, channels, 0}}}, weight, store,
         gemm_scratch(ctx));
}

template <>
void Conv2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  const Sizes x = in.x.sizes, k = in.weight.sizes, y = dy.y.sizes;
  CHECK(ctx.leaves > 0 && y[0] % ctx.leaves == 0, "conv2d: {} samples do not divide into {} leaves", y[0], ctx.leaves);
  if (grad.x && is_thin(groups, k[3])) {
    window_sums(ctx, dy.y, gradient_phases(*this, x, k), pack_filters(ctx, in.weight, groups, true), k[2], {}, grad.x);
  } else if (grad.x) {
    input_gradient(ctx, *this, in.weight, dy.y, grad.x);
  }
  if (grad.weight) {
    const AxisTaps h = forward_taps(y[1], k[1], stride.h, padding.top, dilation.h);
    const AxisTaps w = forward_taps(y[2], k[2], stride.w, padding.left, dilation.w);
    if (is_thin(groups, k[0] / groups))
      filter_sums(ctx, in.x, h, w, groups, dy.y, flat_rows(dy.y, "conv2d: dy").stride, grad.weight);
    else weight_gradient(ctx, *this, in.x, h, w, dy.y, grad.weight);
  }
  leaf_column_sums(ctx, dy.y, grad.bias);
}

}  // namespace dr
