#include "model/transformer_block.h"

#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/add/add.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/qkv_attention/qkv_attention.h"
#include "kernels/silu/silu.h"
#include "kernels/slice/slice.h"

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
  if (o.shared_modulation) table_ = p.add(name + ".modulation.table", {1, 6 * c}, Init::zeros());
  else modulation_ = layer("modulation", 6 * c, c, Init::zeros());
  qkv_ = layer("attention.qkv", 3 * c, c, normal);
  q_norm_ = p.add(name + ".attention.q_norm.weight", {c / o.heads}, Init::ones());
  k_norm_ = p.add(name + ".attention.k_norm.weight", {c / o.heads}, Init::ones());
  out_ = layer("attention.out", c, c, normal);
  up_ = layer("mlp.up", o.hidden, c, normal);
  down_ = layer("mlp.down", c, o.hidden, normal);
}

Tensor TransformerBlock::modulation(Tape& tape, const Tensor& condition) const {
  if (!options_.shared_modulation)
    return tape.apply(Linear{}, tape.apply(Silu{}, condition), modulation_.weight, modulation_.bias);
  const int64_t rows = condition.size(0);
  const Tensor first = Tensor::zeros(condition.arena(), DType::i32, {rows});
  return tape.apply(Add{}, condition, tape.apply_again(Embedding{}, table_, first));
}

Tensor TransformerBlock::part(Tape& tape, const Tensor& m, int64_t index) const {
  return tape.slice(m, 1, index * options_.channels, options_.channels);
}

Tensor TransformerBlock::qkv(Tape& tape, const Tensor& h, const Tensor& m) const {
  return tape.apply(AdaLNLinear{.eps = options_.norm_eps, .norm = options_.norm}, h, part(tape, m, 0), part(tape, m, 1),
                    qkv_.weight, qkv_.bias);
}

Tensor TransformerBlock::after_attention(Tape& tape, const Tensor& h, const Tensor& a, const Tensor& m,
                                         bool keep_hidden) const {
  const auto add = [&](const auto&... in) {
    return keep_hidden ? tape.apply(LinearGatedResidual{}, in...) : tape.apply_again(LinearGatedResidual{}, in...);
  };
  const Tensor h1 = add(a, out_.weight, out_.bias, part(tape, m, 2), h);
  return tape.apply(AdaLNMlp{.eps = options_.norm_eps, .norm = options_.norm, .keep_pre = keep_hidden}, h1,
                    part(tape, m, 3), part(tape, m, 4), part(tape, m, 5), up_.weight, up_.bias, down_.weight, down_.bias);
}

Tensor TransformerBlock::apply_modulated(Tape& tape, const Tensor& x, const Tensor& m, const Tensor& cos,
                                         const Tensor& sin, int targets, int64_t from, bool keep_hidden) const {
  const int64_t c = options_.channels, heads = options_.heads;
  CHECK(x.rank() == 3 && x.size(2) == c, "transformer block: x must be (B,L,{}), got {}", c, to_string(x.view()));
  const int64_t batch = x.size(0), length = x.size(1), rows = batch * length;
  CHECK(m.rank() == 2 && m.size(1) == 6 * c && m.size(0) > 0 && (batch == 0 || m.size(0) % batch == 0) &&
            rows % m.size(0) == 0,
        "transformer block: the modulation must be ({} T,{}) with T frames in {} tokens, got {}", batch, 6 * c, length,
        to_string(m.view()));
  const Tensor h = tape.reshape(x, {rows, c});
  FrameMask mask = options_.mask;
  mask.targets = targets;
  const QkvAttention attention{.mask = mask, .eps = options_.qk_norm_eps};
  const Tensor a = tape.apply(attention, tape.reshape(qkv(tape, h, m), {batch, length, 3, heads, c / heads}), q_norm_,
                              k_norm_, cos, sin);
  if (from == 0) return tape.reshape(after_attention(tape, h, tape.reshape(a, {rows, c}), m, keep_hidden), x.sizes());
  const int64_t frames = m.size(0) / batch, tokens = length / frames;
  const auto rest = [&](const Tensor& t, int64_t each, int64_t width) {  // of (B frames each, width)
    const Tensor s = tape.apply(Slice{.axis = 1, .begin = from * each, .length = (frames - from) * each},
                                tape.reshape(t, {batch, frames * each, width}));
    return tape.reshape(s, {batch * (frames - from) * each, width});
  };
  const Tensor y = after_attention(tape, rest(x, tokens, c), rest(a, tokens, c), rest(m, 1, 6 * c), keep_hidden);
  return tape.reshape(y, {batch, (frames - from) * tokens, c});
}

Tensor TransformerBlock::decode(Tape& tape, const Tensor& x, const Tensor& m, const Tensor& cos, const Tensor& sin,
                                const BlockCache& cache, int64_t slot, const Tensor& order) const {
  CHECK(!tape.options().gradients, "transformer block: decoding has no gradient; its tape must not record");
  const int64_t c = options_.channels, heads = options_.heads, width = c / heads, batch = x.size(0), tokens = x.size(1);
  const Tensor h = x.reshape({batch * tokens, c});
  const Tensor all = qkv(tape, h, m).reshape({batch, tokens, 3, heads, width});
  const auto part_of = [&](int64_t index) {
    return all.slice(2, index, 1).reshape({batch, tokens, heads, width});
  };
  const auto qk = tape.apply_all(QkNormRotary{.eps = options_.qk_norm_eps}, part_of(0), part_of(1), q_norm_, k_norm_, cos, sin);
  Device& device = x.arena()->device();
  const auto keep = [&](const Tensor& from, const Tensor& to) {  // a frame's rows into its slot
    const View f = from.view(), t = to.slice(1, slot, 1).view();
    const size_t run = size_t(heads * width) * sizeof(float);
    for (int64_t b = 0; b < batch; b++)
      for (int64_t s = 0; s < tokens; s++)
        device.copy(static_cast<float*>(t.data) + b * t.stride(0) + s * t.stride(2),
                    static_cast<const float*>(f.data) + b * f.stride(0) + s * f.stride(1), run);
  };
  keep(qk[1], cache.k), keep(part_of(2), cache.v);
  const Tensor a = tape.apply(AttentionDecode{}, qk[0], cache.k, cache.v, order);
  return after_attention(tape, h, a.reshape({batch * tokens, c}), m, false).reshape(x.sizes());
}

}  // namespace dr
