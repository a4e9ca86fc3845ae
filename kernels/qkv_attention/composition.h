#pragma once
// The bodies of QkvAttention, which are calls of its parts on the CPU and on devices alike. Last include, as simd.h.

#include "kernels/qkv_attention/qkv_attention.h"

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

// The heads' place in scratch; `rest` is left with what follows it, for the parts.
QkvAttention::Heads carve(const Context& ctx, const QkvAttention::In& in, Context& rest) {
  Carver carver{ctx.scratch_as<float>(0)};
  const QkvAttention::Heads heads(in, carver);
  ctx.scratch_as<std::byte>(carver.bytes());  // throws if there is less
  rest.scratch = ctx.scratch.subspan(carver.bytes());
  return heads;
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void QkvAttention::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  Context rest = ctx;
  const Heads heads = carve(ctx, in, rest);
  norm().forward<kBackend>(rest, norm_in(in), heads.out());
  attention().forward<kBackend>(rest, {heads.q, heads.k, part(in.qkv, 2)}, {out.y, out.max, out.den});
}

template <>
void QkvAttention::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                      const Grad& grad) const {
  if (!grad.qkv && !grad.q_weight && !grad.k_weight) return;
  Context rest = ctx;
  const Heads heads = carve(ctx, in, rest);
  const auto gradient_of = [&](int64_t index) { return grad.qkv ? part(grad.qkv, index) : View(); };
  norm().forward<kBackend>(rest, norm_in(in), heads.out());
  attention().backward<kBackend>(rest, {heads.q, heads.k, part(in.qkv, 2)}, {saved.y, saved.max, saved.den}, {dy.y},
                                 {heads.q, heads.k, gradient_of(2)});
  norm().backward<kBackend>(rest, norm_in(in), heads.out(), {heads.q, heads.k},
                            {gradient_of(0), gradient_of(1), grad.q_weight, grad.k_weight});
}

}  // namespace dr
