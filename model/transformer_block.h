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
// (adaLN-Zero), or modulation.table (1,6C) where the linear map is one for all blocks; attention.qkv.{weight,bias}, [q | k | v] with the heads contiguous inside each;
// attention.{q_norm,k_norm}.weight (D); attention.out.{weight,bias}; mlp.up.{weight,bias}; mlp.down.{weight,bias}.
// Attention and MLP keep little for backward: see kernels/adaln_linear, kernels/qkv_attention and kernels/adaln_mlp.
// The bits are those of AdaLN, Linear, RmsNorm, Rotary, Attention, LinearGelu and LinearGatedResidual in turn.
// decode() is apply() for one new frame against the keys and values of frames before it: the same bits.
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
  bool shared_modulation = false;  // modulation = a map that all blocks share + a table of the block's own
};

// Keys and values of the frames that a rollout may still look at, of one block, and where they lie.
struct BlockCache {
  Tensor k, v;  // (B,slots,S,H,D)
};

class TransformerBlock {
 public:
  TransformerBlock(Parameters& parameters, const std::string& name, const TransformerBlockOptions& options);

  // m (R,6C) of R conditioning vectors: condition (R,C); where modulation is shared, of what the shared map gave, (R,6C).
  Tensor modulation(Tape& tape, const Tensor& condition) const;
  Tensor apply(Tape& tape, const Tensor& x, const Tensor& condition, const Tensor& cos, const Tensor& sin) const {
    return apply_modulated(tape, x, modulation(tape, tape.reshape(condition, {condition.size(0) * condition.size(1),
                                                                              condition.size(2)})), cos, sin, options_.mask.targets);
  }
  // m (B T,6C); the last `targets` frames of x are noised copies, as frame_mask.h has them. y is of the frames from `from`
  // on, for whoever needs no others. keep_hidden: false keeps half as much for backward, which computes the MLP's hidden
  // layer and attention's projection again.
  Tensor apply_modulated(Tape& tape, const Tensor& x, const Tensor& m, const Tensor& cos, const Tensor& sin, int targets,
                         int64_t from = 0, bool keep_hidden = true) const;
  // x (B,S,C): one frame; m (B,6C); cos, sin (B,S,D/2); order: attention_decode's, the frame's own slot `slot` last. Its
  // keys and values are written there. The tape must not record: there is no gradient.
  Tensor decode(Tape& tape, const Tensor& x, const Tensor& m, const Tensor& cos, const Tensor& sin, const BlockCache& cache,
                int64_t slot, const Tensor& order) const;
  const TransformerBlockOptions& options() const { return options_; }

 private:
  struct Layer { Tensor weight, bias; };

  Tensor qkv(Tape& tape, const Tensor& h, const Tensor& m) const;
  Tensor after_attention(Tape& tape, const Tensor& h, const Tensor& a, const Tensor& m, bool keep_hidden) const;
  Tensor part(Tape& tape, const Tensor& m, int64_t index) const;

  TransformerBlockOptions options_;
  Layer modulation_, qkv_, out_, up_, down_;
  Tensor table_, q_norm_, k_norm_;
};

}  // namespace dr
