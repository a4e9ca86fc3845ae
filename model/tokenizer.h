#pragma once
// The image tokenizer: a convolutional autoencoder that maps each 8 x 8 pixels to four numbers (f8, 4 channels).
//
//   encode   patches of 4 x 4 pixels -> conv 3x3 to `outer` -> residual blocks -> conv 3x3, stride 2, to `inner` ->
//            residual blocks -> norm, SiLU, conv 3x3 to 4 -> normalised over the frame
//   decode   conv 3x3 to `inner` -> residual blocks -> conv 1x1 to patches of 2 x 2 of `outer` -> residual blocks ->
//            norm, SiLU, conv 3x3 to patches of 4 x 4 pixels
//   residual block: x + conv1x1(silu(conv3x3(silu(norm(x)))))
//
//   images (N,H,W,3) f32 in [-1, 1], H and W multiples of 8    latents (N,H/8,W/8,4) f32
// The encoder's last normalisation gives a frame's latents mean 0 and mean square 1, so that noise of a stated deviation
// means the same through the whole of training. What encode returns is scaled once more, by latent.mean and
// latent.deviation, which are measured after training: over the training frames each channel then has mean 0 and
// variance 1. decode undoes it.
// Each frame is on its own: its bits do not depend on the batch.
// Source: latents of f8 with 4 channels as in Rombach et al. 2022, arXiv:2112.10752; noise on the latents in place of a
//   Kullback-Leibler term; sub-pixel convolutions: Shi et al. 2016, arXiv:1609.05158.

#include "runtime/parameters.h"

namespace dr {

struct TokenizerConfig {
  int64_t outer = 64, inner = 128;  // channels at a quarter and at an eighth of the image's size
  int64_t encoder_outer = 0, encoder_inner = 1, decoder_inner = 2, decoder_outer = 1;  // residual blocks
};

class Tokenizer {
 public:
  static constexpr int64_t kReduction = 8, kChannels = 4;

  // Parameters beneath "encoder." and "decoder."; "latent.mean" and "latent.deviation" (4), which training leaves alone.
  Tokenizer(Runtime& runtime, Parameters& parameters, const TokenizerConfig& config);

  Tensor encode(Tape& tape, const Tensor& images) const;
  Tensor decode(Tape& tape, const Tensor& latents) const;

  // For training: the latents before mean and deviation, and images from them.
  Tensor encode_raw(Tape& tape, const Tensor& images) const;
  Tensor decode_raw(Tape& tape, const Tensor& latents) const;

 private:
  struct Layer { Tensor weight, bias; };
  struct Block { Layer norm, conv, out; };

  Tensor residual(Tape& tape, const Block& block, const Tensor& x) const;
  Tensor features(Tape& tape, const Tensor& images) const;

  Layer in_, down_, encoder_norm_, to_latent_, from_latent_, up_, decoder_norm_, out_;
  std::vector<Block> encoder_outer_, encoder_inner_, decoder_inner_, decoder_outer_;
  Tensor mean_, deviation_;
  Tensor ones_, zeros_;  // (4)
};

// Means and deviations of each channel of latents (..., 4), by sums in a fixed order.
struct LatentStatistics {
  std::vector<float> mean, deviation;
};
LatentStatistics latent_statistics(const std::vector<float>& latents);

}  // namespace dr
