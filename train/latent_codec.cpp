#include "train/latent_codec.h"

#include <filesystem>

#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/concat/concat.h"
#include "kernels/float_to_image/float_to_image.h"

namespace dr {

LatentCodec::LatentCodec(Runtime& runtime, const std::string& tokenizer) : runtime_(runtime), path_(tokenizer) {
  if (path_.empty()) tokenizer_.hash = "none";
  else tokenizer_ = load_tokenizer(runtime, path_);
}

std::string LatentCodec::words() const { return path_.empty() ? "8 x 8 means, no tokenizer is given" : path_; }

std::vector<LatentLog> LatentCodec::encode(const Logs& logs, const DataSettings& data) const {
  const std::vector<std::string> paths = data.data.empty() ? std::vector<std::string>() : dataset_paths(data.data);
  std::vector<LatentLog> list;
  for (size_t i = 0; i < logs.size(); i++) {
    const std::string stored = data.frames.empty() && i < paths.size() ? latents_path(paths[i]) : "";
    LatentLog l{logs[i], {}};
    if (!tokenizer_.tokenizer) {
      l.latents = thumbnails(*logs[i]);
    } else if (!stored.empty() && std::filesystem::exists(stored)) {
      const HostArray a = read_latents(stored, tokenizer_.hash);
      l.latents.assign(a.data<float>(), a.data<float>() + a.view.count());
    } else {
      l.latents = encode_log(runtime_, *tokenizer_.tokenizer, *logs[i]);
    }
    list.push_back(std::move(l));
  }
  return list;
}

Tensor LatentCodec::decode(const Tensor& latents) const { return evaluate(runtime_, FloatToImage{}, images(latents)); }

Tensor LatentCodec::latents(const Tensor& images) const {
  Tape tape(runtime_, {.gradients = false});
  if (tokenizer_.tokenizer) return tokenizer_.tokenizer->encode(tape, images);
  constexpr int f = int(Tokenizer::kReduction);
  const Tensor means = tape.apply(AvgPool2d{.kernel = {f, f}, .stride = {f, f}}, images);
  const Tensor none = runtime_.zeros(DType::f32, {means.size(0), means.size(1), means.size(2), 1});
  return tape.apply(Concat{.axis = -1}, means, none, Tensor(), Tensor(), Tensor(), Tensor());
}

Tensor LatentCodec::images(const Tensor& latents) const {
  Tape tape(runtime_, {.gradients = false});
  if (tokenizer_.tokenizer) return tokenizer_.tokenizer->decode(tape, latents);
  // A mean stands for all of its pixels; the fourth channel is not a colour.
  constexpr int64_t f = Tokenizer::kReduction;
  const std::vector<float> from = latents.floats();
  const int64_t n = latents.size(0), h = latents.size(1), w = latents.size(2), c = latents.size(3);
  std::vector<float> to;
  to.reserve(size_t(n * h * w * f * f * 3));
  for (int64_t i = 0; i < n; i++)
    for (int64_t y = 0; y < h * f; y++)
      for (int64_t x = 0; x < w * f; x++)
        for (int64_t k = 0; k < 3; k++) to.push_back(from[size_t(((i * h + y / f) * w + x / f) * c + k)]);
  return runtime_.from(to, {n, h * f, w * f, 3});
}

}  // namespace dr
