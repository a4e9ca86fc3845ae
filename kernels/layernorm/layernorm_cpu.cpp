#include "kernels/layernorm/layernorm.h"
#include "kernels/core/row_stats.h"

namespace dr {
namespace DR_ISA {
namespace {

// A row's function (i, n) -> f32v that is the same for every row: `absent` where there is no view.
struct Columns {
  const float* p;
  float absent;
  explicit Columns(const View& v, float absent_) : p(v ? v.as<float>() : nullptr), absent(absent_) {}
  DR_INLINE auto operator()(int64_t) const {
    return [p = p, other = splat(absent)](int64_t i, auto n) { return p ? load_n(p + i, n) : other; };
  }
};

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void LayerNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Columns weight(in.weight, 1.f), bias(in.bias, 0.f);
  with_float_type(in.x.dtype,
                  [&]<class T>(T*) { norm_forward<T>(ctx, in.x, eps, weight, bias, out.y, out.mean, out.rstd); });
}

template <>
void LayerNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "layernorm: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = grad.bias, .dgain = grad.weight,
                       .groups = RowGroups(ctx.leaves, in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, Columns(in.weight, 1.f)); });
}

}  // namespace dr
