#include "model/transformer_block.h"

#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/qkv_attention/qkv_attention.h"
#include "kernels/silu/silu.h"

namespace dr {

TransformerBlock::TransformerBlock(Parameters& p, const std::string& name, const TransformerBlockOptions& o)
    : options_(o) {
  const int64_t c = o.channels;
  CHECK(o.heads > 0 && c % o.heads == 0, "{}: {} channels do not divide into {} heads", name, c, o.heads);
  auto layer = [&](const char* part, int64_t out, int64_t in, Init init) {
    return Layer{p.add(format("{}.{}.weight", name, part), {out, in}, init),
                 p.add(format("{}.{}.bias", name, part), {out}, Init::zeros())};
  };
  const Init normal = Init::normal(o.deviation);
  modulation_ = layer("modulation", 6 * c, c, Init::zeros());
  qkv_ = layer("attention.qkv", 3 * c, c, normal);
  q_norm_ = p.add(name + ".attention.q_norm.weight", {c / o.heads}, Init::ones());
  k_norm_ = p.add(name + ".attention.k_norm.weight", {c / o.heads}, Init::ones());
  out_ = layer("attention.out", c, c, normal);
  up_ = layer("mlp.up", o.hidden, c, normal);
  down_ = layer("mlp.down", c, o.hidden, normal);
}

Tensor TransformerBlock::apply(Tape& tape, const Tensor& x, const Tensor& condition, const Tensor& cos,
                               const Tensor& sin) const {
  const int64_t c = options_.channels, heads = options_.heads, width = c / heads;
  CHECK(x.rank() == 3 && x.size(2) == c, "transformer block: x must be (B,L,{}), got {}", c, to_string(x.view()));
  const int64_t batch = x.size(0), length = x.size(1), rows = batch * length;
  CHECK(condition.rank() == 3 && condition.size(0) == batch && condition.size(2) == c && condition.size(1) > 0 &&
            length % condition.size(1) == 0,
        "transformer block: condition must be ({},T,{}) with T frames in {} tokens, got {}", batch, c, length,
        to_string(condition.view()));

  const Tensor per_frame = tape.reshape(condition, {batch * condition.size(1), c});
  const Tensor m = tape.apply(Linear{}, tape.apply(Silu{}, per_frame), modulation_.weight, modulation_.bias);
  const auto modulation = [&](int64_t part) { return tape.slice(m, 1, part * c, c); };
  const float eps = options_.norm_eps;
  const Norm norm = options_.norm;

  const Tensor h = tape.reshape(x, {rows, c});
  const Tensor qkv = tape.reshape(tape.apply(AdaLNLinear{.eps = eps, .norm = norm}, h, modulation(0), modulation(1),
                                             qkv_.weight, qkv_.bias),
                                  {batch, length, 3, heads, width});
  const QkvAttention attention{.mask = options_.mask, .eps = options_.qk_norm_eps};
  const Tensor a = tape.apply(attention, qkv, q_norm_, k_norm_, cos, sin);
  const Tensor h1 = tape.apply(LinearGatedResidual{}, tape.reshape(a, {rows, c}), out_.weight, out_.bias,
                               modulation(2), h);

  const Tensor y = tape.apply(AdaLNMlp{.eps = eps, .norm = norm}, h1, modulation(3), modulation(4), modulation(5),
                              up_.weight, up_.bias, down_.weight, down_.bias);
  return tape.reshape(y, x.sizes());
}

}  // namespace dr
