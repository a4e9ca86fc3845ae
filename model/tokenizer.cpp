#include "model/tokenizer.h"

#include <cmath>

#include "kernels/add/add.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/group_norm_silu/group_norm_silu.h"
#include "kernels/patchify/patchify.h"
#include "kernels/silu/silu.h"
#include "kernels/unpatchify/unpatchify.h"

namespace dr {

namespace {

constexpr int kPatch = 4, kPatchChannels = kPatch * kPatch * 3;
constexpr int64_t kGroupChannels = 16;  // of a group of the normalisations, where that divides

int groups_of(int64_t channels) { return int(channels % kGroupChannels == 0 ? channels / kGroupChannels : 1); }

// (N,H,W,C) from tokens that are patches of patch x patch positions, h x w of them.
Tensor unpatch(Tape& tape, const Tensor& x, int patch) {
  const int h = int(x.size(1)), w = int(x.size(2));
  return tape.apply(Unpatchify{.rows = h, .columns = w, .patch_h = patch, .patch_w = patch},
                    tape.reshape(x, {x.size(0), int64_t{h} * w, x.size(3)}));
}

}  // namespace

Tokenizer::Tokenizer(Runtime& runtime, Parameters& p, const TokenizerConfig& c) {
  auto conv = [&](const std::string& name, int64_t out, int64_t in, int64_t kernel, double gain = 1) {
    const auto deviation = float(gain / std::sqrt(double(in * kernel * kernel)));
    return Layer{p.add(name + ".weight", {out, kernel, kernel, in}, Init::normal(deviation)),
                 p.add(name + ".bias", {out}, Init::zeros())};
  };
  auto norm = [&](const std::string& name, int64_t channels) {
    return Layer{p.add(name + ".weight", {channels}, Init::ones()), p.add(name + ".bias", {channels}, Init::zeros())};
  };
  auto blocks = [&](const std::string& name, int64_t n, int64_t channels) {
    std::vector<Block> list;
    for (int64_t i = 0; i < n; i++) {
      const std::string b = format("{}.{}.", name, i);
      const Layer before = norm(b + "norm", channels), in = conv(b + "conv", channels, channels, 3);
      list.push_back({before, in, conv(b + "out", channels, channels, 1, 0.2)});
    }
    return list;
  };
  in_ = conv("encoder.in", c.outer, kPatchChannels, 3);
  encoder_outer_ = blocks("encoder.outer", c.encoder_outer, c.outer);
  down_ = conv("encoder.down", c.inner, c.outer, 3);
  encoder_inner_ = blocks("encoder.inner", c.encoder_inner, c.inner);
  encoder_norm_ = norm("encoder.norm", c.inner);
  to_latent_ = conv("encoder.out", kChannels, c.inner, 3);
  from_latent_ = conv("decoder.in", c.inner, kChannels, 3);
  decoder_inner_ = blocks("decoder.inner", c.decoder_inner, c.inner);
  up_ = conv("decoder.up", 4 * c.outer, c.inner, 1);
  decoder_outer_ = blocks("decoder.outer", c.decoder_outer, c.outer);
  decoder_norm_ = norm("decoder.norm", c.outer);
  out_ = conv("decoder.out", kPatchChannels, c.outer, 3, 0.5);
  mean_ = p.add("latent.mean", {kChannels}, Init::zeros());
  deviation_ = p.add("latent.deviation", {kChannels}, Init::ones());
  ones_ = runtime.ones(DType::f32, {kChannels});
  zeros_ = runtime.zeros(DType::f32, {kChannels});
}

Tensor Tokenizer::residual(Tape& tape, const Block& b, const Tensor& x) const {
  const Tensor n = tape.apply(GroupNormSilu{.groups = groups_of(x.size(3))}, x, b.norm.weight, b.norm.bias);
  const Tensor h = tape.apply(Silu{}, tape.apply(Conv2d::same(3), n, b.conv.weight, b.conv.bias));
  return tape.apply(Add{}, x, tape.apply(Conv2d::same(1), h, b.out.weight, b.out.bias));
}

Tensor Tokenizer::features(Tape& tape, const Tensor& images) const {
  CHECK(images.rank() == 4 && images.size(3) == 3 && images.size(1) % kReduction == 0 && images.size(2) % kReduction == 0 &&
            images.size(1) > 0 && images.size(2) > 0,
        "tokenizer: images must be (N,H,W,3) with H and W multiples of {}, got {}", kReduction, to_string(images.view()));
  const int64_t h = images.size(1) / kPatch, w = images.size(2) / kPatch;
  Tensor x = tape.apply(Patchify{.patch_h = kPatch, .patch_w = kPatch}, images);
  x = tape.reshape(x, {images.size(0), h, w, kPatchChannels});
  x = tape.apply(Conv2d::same(3), x, in_.weight, in_.bias);
  for (const Block& b : encoder_outer_) x = residual(tape, b, x);
  x = tape.apply(Conv2d::same(3, 2), x, down_.weight, down_.bias);
  for (const Block& b : encoder_inner_) x = residual(tape, b, x);
  x = tape.apply(GroupNormSilu{.groups = groups_of(x.size(3))}, x, encoder_norm_.weight, encoder_norm_.bias);
  return tape.apply(Conv2d::same(3), x, to_latent_.weight, to_latent_.bias);
}

Tensor Tokenizer::encode_raw(Tape& tape, const Tensor& images) const {
  return tape.apply(GroupNormSilu{.groups = 1, .silu = false}, features(tape, images), ones_, zeros_);
}

Tensor Tokenizer::encode(Tape& tape, const Tensor& images) const {
  std::vector<float> scale = deviation_.floats(), shift = mean_.floats();
  for (size_t c = 0; c < scale.size(); c++) scale[c] = 1 / scale[c], shift[c] *= -scale[c];
  Tensor weight = ones_.clone(), bias = zeros_.clone();
  weight.copy_from(std::span<const float>(scale)), bias.copy_from(std::span<const float>(shift));
  return tape.apply(GroupNormSilu{.groups = 1, .silu = false}, features(tape, images), weight, bias);
}

Tensor Tokenizer::decode(Tape& tape, const Tensor& latents) const {
  CHECK(latents.rank() == 4 && latents.size(3) == kChannels, "tokenizer: latents must be (N,h,w,{}), got {}", kChannels,
        to_string(latents.view()));
  const Conv2d scale = Conv2d::same(1, 1, kChannels);
  return decode_raw(tape, tape.apply(scale, latents, deviation_.reshape({kChannels, 1, 1, 1}), mean_));
}

Tensor Tokenizer::decode_raw(Tape& tape, const Tensor& latents) const {
  Tensor x = tape.apply(Conv2d::same(3), latents, from_latent_.weight, from_latent_.bias);
  for (const Block& b : decoder_inner_) x = residual(tape, b, x);
  x = unpatch(tape, tape.apply(Conv2d::same(1), x, up_.weight, up_.bias), 2);
  for (const Block& b : decoder_outer_) x = residual(tape, b, x);
  x = tape.apply(GroupNormSilu{.groups = groups_of(x.size(3))}, x, decoder_norm_.weight, decoder_norm_.bias);
  return unpatch(tape, tape.apply(Conv2d::same(3), x, out_.weight, out_.bias), kPatch);
}

LatentStatistics latent_statistics(const std::vector<float>& latents) {
  constexpr size_t channels = size_t(Tokenizer::kChannels);
  CHECK(!latents.empty() && latents.size() % channels == 0, "tokenizer: {} numbers are no latents of {} channels",
        latents.size(), channels);
  const double n = double(latents.size() / channels);
  LatentStatistics s;
  for (size_t c = 0; c < channels; c++) {
    double sum = 0, squares = 0;
    for (size_t i = c; i < latents.size(); i += channels) sum += double(latents[i]);
    for (size_t i = c; i < latents.size(); i += channels) squares += (double(latents[i]) - sum / n) * (double(latents[i]) - sum / n);
    s.mean.push_back(float(sum / n));
    s.deviation.push_back(float(std::max(1e-6, std::sqrt(squares / n))));
  }
  return s;
}

}  // namespace dr
