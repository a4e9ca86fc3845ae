#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/gelu/gelu.h"

#include "kernels/adaln/gpu_modulation.h"
#include "kernels/core/gpu_strided.h"
#include "kernels/gelu/gpu_gelu.h"
#include "kernels/linear_gated_residual/gpu_gated_product.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using Buffers = AdaLNMlpDeviceBuffers;

#if defined(DR_BACKEND_simt)
constexpr int64_t kPieceRows = 2 * kChainChunk;  // small tests go through several pieces
#else
constexpr int64_t kPieceRows = Buffers::kRows;
#endif
static_assert(Buffers::kRows % kPieceRows == 0 && kPieceRows % kChainChunk == 0,
              "a piece is whole chunks of the chains over rows");

View slice(const View& v, int64_t begin, int64_t n) { return v ? v.slice(0, begin, n) : v; }

// The buffers of a call, and a context with the scratch behind them.
struct Work {
  Buffers buffers;
  Context rest;
};
Work work_of(const Context& ctx, const AdaLNMlp::In& in) {
  Carver carver{ctx.scratch_as<float>(0)};
  Work work{Buffers(in.x.size(0), in.x.size(1), AdaLNMlp::hidden(in), carver), ctx};
  ctx.scratch_as<std::byte>(carver.bytes());  // throws if there is less
  work.rest.scratch = ctx.scratch.subspan(carver.bytes());
  return work;
}

// a = gelu(pre), which may be the same memory.
void gelu_rows(const Context& ctx, const View& pre, const View& a) {
  map_rows(ctx, a.size(0), a.size(1), rows_of<float>(a), GeluOf{}, rows_of<const float>(pre));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void AdaLNMlp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.x.size(0), units = hidden(in);
  if (rows == 0) return;
  const int64_t frame_rows = rows / in.shift.size(0);
  const Work work = work_of(ctx, in);
  const View n(work.buffers.n, DType::f32, in.x.sizes);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T, float>(ctx, in.x, eps, gain_of(in.scale, frame_rows), shift_of(in.shift, frame_rows), n, out.mean,
                           out.rstd);
  });
  for (int64_t first = 0; first < rows; first += kPieceRows) {
    const int64_t count = std::min(kPieceRows, rows - first);
    const View a(work.buffers.a, DType::f32, {count, units}), pre = out.pre ? slice(out.pre, first, count) : a;
    linear_product(work.rest, slice(n, first, count), in.up, in.up_bias, pre);
    gelu_rows(ctx, pre, a);
    gated_product(work.rest, a, in.down, in.down_bias, {in.gate.as<float>(), in.gate.stride(0), frame_rows, first},
                  slice(in.x, first, count), slice(out.y, first, count), slice(out.h, first, count));
  }
}

template <>
void AdaLNMlp::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                  const Grad& grad) const {
  const int64_t rows = in.x.size(0), channels = in.x.size(1), units = hidden(in), leaf_rows = rows / ctx.leaves;
  CHECK(leaf_rows * ctx.leaves == rows, "adaln_mlp: {} rows do not divide into {} leaves", rows, ctx.leaves);
  if (rows == 0) {
    for (const View* v : views(grad))
      if (*v) clear_view(ctx, *v);
    return;
  }
  const RowGroups frames(in.shift.size(0), rows, channels);
  const ModulationRows gain = gain_of(in.scale, frames.rows);
  const Work work = work_of(ctx, in);
  const View n(work.buffers.n, DType::f32, in.x.sizes), dh(work.buffers.dh, DType::f32, in.x.sizes);
  const bool needs_dn = grad.x || grad.shift || grad.scale;
  if (grad.up || !saved.pre) norm_again(ctx, in.x, saved.mean, saved.rstd, gain, shift_of(in.shift, frames.rows), n);
  gate_gradients(work.rest, dy.y, saved.h, {in.gate.as<float>(), in.gate.stride(0), frames.rows}, dh, grad.gate);

  // `leaves` whole leaves, or rows of one from `base` on.
  const auto piece = [&](int64_t leaf, int64_t leaves, int64_t base) {
    const int64_t first = leaf * leaf_rows + base, count = std::min(kPieceRows, leaves * leaf_rows - base);
    const bool goes_on = base > 0;
    Context part = work.rest;
    part.leaves = int(leaves);
    const View a(work.buffers.a, DType::f32, {count, units}), dpre(work.buffers.dpre, DType::f32, a.sizes);
    const View rows_of_n = slice(n, first, count), rows_of_dh = slice(dh, first, count);
    const View pre = saved.pre ? slice(saved.pre, first, count) : a;
    const auto of_leaves = [&](const View& v) { return slice(v, leaf, leaves); };
    if (!saved.pre) linear_product(part, rows_of_n, in.up, in.up_bias, pre);
    linear_gradients(part, rows_of_dh, a, in.down, dpre, {}, {});  // da, for now
    map_rows(part, count, units, rows_of<float>(dpre), GeluBack{}, rows_of<const float>(pre),
             rows_of<const float>(dpre));
    if (grad.down) gelu_rows(part, pre, a);
    linear_gradients(part, rows_of_dh, a, in.down, {}, of_leaves(grad.down), of_leaves(grad.down_bias), 0, goes_on);
    linear_gradients(part, dpre, rows_of_n, in.up, {}, of_leaves(grad.up), of_leaves(grad.up_bias), 0, goes_on);
    if (needs_dn) linear_gradients(part, dpre, rows_of_n, in.up, rows_of_n, {}, {});
  };
  if (leaf_rows <= kPieceRows) {
    const int64_t most = kPieceRows / leaf_rows;
    for (int64_t leaf = 0; leaf < ctx.leaves; leaf += most) piece(leaf, std::min(most, ctx.leaves - leaf), 0);
  } else {
    for (int64_t leaf = 0; leaf < ctx.leaves; leaf++)
      for (int64_t base = 0; base < leaf_rows; base += kPieceRows) piece(leaf, 1, base);
  }
  if (!needs_dn) return;

  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = n,  // by now dn
                       .dx = grad.x, .dshift = grad.shift, .dgain = grad.scale, .groups = frames, .residual = dy.y};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T, float>(work.rest, v, gain); });
}

}  // namespace dr
