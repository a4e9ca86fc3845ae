#pragma once
// The fast tier's GEMM with an epilogue: wgmma on Hopper, matrix tiles elsewhere. Plain products, which `multiply` of
// gpu_gemm.h makes, go through cuBLASLt first, where the program has it.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_gemm_hopper.h"

namespace dr::DR_BACKEND {

namespace workspace_detail {
struct Round {
  const float* from;
  int64_t ld;
  BatchOffset batch;
  AsStored s;
  int64_t to_ld;
  bf16* to;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t c = i % s.columns, r = i / s.columns % s.rows, b = i / s.columns / s.rows;
    to[(b * s.rows + r) * to_ld + c] = to_bf16(from[batch(b) + r * ld + c]);
  }
};
}  // namespace workspace_detail

// An f32 operand rounded to bf16, packed but for rows of whole 16 bytes, in what is left of the context's workspace; as it is
// where it is bf16, or where there is no room. Parameters are kept in f32: a step that has more room than its largest needs
// multiplies bf16 throughout.
class Workspace {
 public:
  explicit Workspace(const Context& ctx) : ctx_(ctx) {}
  Operand in_bf16(const Operand& o, const AsStored& s, int64_t batch) {
    const int64_t ld = (s.columns + 7) / 8 * 8, count = batch * s.rows * ld;
    if (o.is_bf16 || count == 0 || used_ + size_t(count) * sizeof(bf16) > ctx_.workspace.size()) return o;
    bf16* const to = reinterpret_cast<bf16*>(ctx_.workspace.data() + used_);
    used_ += (size_t(count) * sizeof(bf16) + 255) / 256 * 256;
    for_each(ctx_, batch * s.rows * s.columns, workspace_detail::Round{static_cast<const float*>(o.data), o.ld, o.batch, s, ld, to});
    Operand r = o;
    r.data = to, r.is_bf16 = true, r.ld = ld;
    r.batch = BatchOffset{.sizes = {1, 1, 1, batch}, .strides = {0, 0, 0, s.rows * ld}};
    return r;
  }

 private:
  const Context& ctx_;
  size_t used_ = 0;
};

// False, and nothing is done, where the context asks for the canonical tier or the operands do not suit; the caller then runs
// the canonical kernel.
template <class Store>
bool fast_gemm(const Context& ctx, const GemmShape& s, const Operand& a, const Operand& b, const Store& store) {
  if (ctx.math != MathTier::fast || !fits_tiles(a) || !fits_tiles(b)) return false;
#if DR_HOPPER_LAUNCHES
  if (has_hopper() && fits_hopper(a) && fits_hopper(b)) {
    gemm_on_wgmma(ctx, s, a, b, store);
    return true;
  }
#endif
  gemm_on_tiles(ctx, s, a, b, store);
  return true;
}

}  // namespace dr::DR_BACKEND
