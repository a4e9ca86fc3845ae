#pragma once
// One block of the diffusion transformer of our own presets: attention and a multilayer perceptron, each behind
// adaptive normalisation and before a gate, with shift, scale and gate from a conditioning vector per frame.
//
//   m = linear(silu(condition))                       (B T, 6C): shift, scale, gate of attention, then of the MLP
//   q, k, v = linear(adaln(x, shift1, scale1))
//   a = attention(qk_norm_rotary(q, k), v)            under the frame mask
//   x = x + gate1 * linear(a)
//   y = x + gate2 * linear(gelu_tanh(linear(adaln(x, shift2, scale2))))
//
//   x (B,L,C) f32|bf16, L = T S    condition (B,T,C) f32    cos, sin (B,L,D/2) f32: the tables of rotary_table
//   y like x
// Parameters, beneath the block's name: modulation.{weight,bias}, zero at first, so that a new block is the identity
// (adaLN-Zero); attention.qkv.{weight,bias}, [q | k | v] with the heads contiguous inside each;
// attention.{q_norm,k_norm}.weight (D); attention.out.{weight,bias}; mlp.up.{weight,bias}; mlp.down.{weight,bias}.
// Attention and MLP keep little for backward: see kernels/adaln_linear, kernels/qkv_attention and kernels/adaln_mlp.
// The bits are those of AdaLN, Linear, RmsNorm, Rotary, Attention, LinearGelu and LinearGatedResidual in turn.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2; conditioning per frame as in Goff et al. 2025,
//   arXiv:2504.19077, section 4.2.1.

#include "kernels/adaln/adaln.h"
#include "kernels/attention/frame_mask.h"
#include "runtime/parameters.h"

namespace dr {

struct TransformerBlockOptions {
  int64_t channels = 768, heads = 12, hidden = 3072;  // C, H, width of the MLP
  Norm norm = Norm::layer;
  float norm_eps = 1e-6f, qk_norm_eps = 1e-5f;
  float deviation = 0.02f;  // of the initial weights
  FrameMask mask{};
};

class TransformerBlock {
 public:
  TransformerBlock(Parameters& parameters, const std::string& name, const TransformerBlockOptions& options);

  Tensor apply(Tape& tape, const Tensor& x, const Tensor& condition, const Tensor& cos, const Tensor& sin) const;

 private:
  struct Layer { Tensor weight, bias; };

  TransformerBlockOptions options_;
  Layer modulation_, qkv_, out_, up_, down_;
  Tensor q_norm_, k_norm_;
};

}  // namespace dr
