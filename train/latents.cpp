#include "train/latents.h"

#include <filesystem>

#include "kernels/image_to_float/image_to_float.h"
#include "train/checkpoint.h"

namespace dr {

namespace {

constexpr std::string_view kFormat = "dreamroad latents 1";
constexpr int64_t kFramesAtATime = 16;

}  // namespace

const Fields<TokenizerConfig>& tokenizer_fields() {
  using S = TokenizerConfig;
  static const Fields<S> list = {
      {"outer", &S::outer, "channels at a quarter of the image's size", 4, 4096},
      {"inner", &S::inner, "channels at an eighth of the image's size", 4, 4096},
      {"encoder-outer", &S::encoder_outer, "residual blocks of the encoder at a quarter of the size", 0, 100},
      {"encoder-inner", &S::encoder_inner, "at an eighth", 0, 100},
      {"decoder-inner", &S::decoder_inner, "residual blocks of the decoder at an eighth of the size", 0, 100},
      {"decoder-outer", &S::decoder_outer, "at a quarter", 0, 100},
  };
  return list;
}

LoadedTokenizer load_tokenizer(Runtime& runtime, const std::string& path) {
  const Checkpoint file(path, "tokenizer");
  const nlohmann::json& settings = file.notes().settings;
  nlohmann::json network = nlohmann::json::object();
  for (const auto& f : tokenizer_fields())
    if (settings.contains(f.name)) network[f.name] = settings[f.name];
  auto number = [&](const char* key) {
    CHECK(settings.contains(key) && settings[key].is_number_integer(), "{}: setting '{}' is missing", path, key);
    return settings[key].get<int64_t>();
  };
  CHECK(file.notes().step == number("steps"), "{}: a tokenizer in training, step {} of {}; `train tokenizer --resume` ends it",
        path, file.notes().step, number("steps"));
  LoadedTokenizer t;
  t.parameters = std::make_unique<Parameters>(runtime);
  t.tokenizer = std::make_unique<Tokenizer>(runtime, *t.parameters, from_json<TokenizerConfig>(network, tokenizer_fields(), path));
  file.load(runtime, *t.parameters, true);
  t.hash = t.parameters->hash();
  t.width = int(number("width")), t.height = int(number("height"));
  return t;
}

Tensor frames_to_images(Runtime& runtime, const DrivingLog& log, int64_t first, int64_t count) {
  const View& f = log.frames.view;
  CHECK(f.present(), "{}: the log has no frames", log.where);
  CHECK(first >= 0 && count > 0 && first + count <= f.size(0), "{}: frames {} to {} of {} were asked for", log.where, first,
        first + count - 1, f.size(0));
  const int64_t frame = f.size(1) * f.size(2) * f.size(3);
  const Tensor bytes = runtime.empty(DType::u8, {count, f.size(1), f.size(2), f.size(3)});
  bytes.copy_from(std::span(log.frames.data<uint8_t>() + first * frame, size_t(count * frame)));
  return evaluate(runtime, ImageToFloat{}, bytes);
}

std::vector<float> encode_log(Runtime& runtime, const Tokenizer& tokenizer, const DrivingLog& log) {
  std::vector<float> latents;
  const int64_t frames = log.frame_count();
  for (int64_t first = 0; first < frames; first += kFramesAtATime) {
    Tape tape(runtime, {.gradients = false});
    const int64_t n = std::min(kFramesAtATime, frames - first);
    const std::vector<float> some = tokenizer.encode(tape, frames_to_images(runtime, log, first, n)).floats();
    latents.insert(latents.end(), some.begin(), some.end());
  }
  return latents;
}

std::vector<float> thumbnails(const DrivingLog& log) {
  const int64_t t = log.frame_count(), h = log.frames.view.size(1), w = log.frames.view.size(2);
  const uint8_t* pixels = log.frames.data<uint8_t>();
  std::vector<float> out;
  for (int64_t f = 0; f < t; f++)
    for (int64_t y = 0; y + 8 <= h; y += 8)
      for (int64_t x = 0; x + 8 <= w; x += 8) {
        for (int64_t c = 0; c < 3; c++) {
          int sum = 0;
          for (int64_t v = 0; v < 8; v++)
            for (int64_t u = 0; u < 8; u++) sum += pixels[((f * h + y + v) * w + x + u) * 3 + c];
          out.push_back(float(sum) / (64 * 127.5f) - 1);
        }
        out.push_back(0);
      }
  return out;
}

std::string latents_path(const std::string& log) {
  std::string name = log;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  if (constexpr std::string_view end = ".safetensors"; name.ends_with(end)) name.resize(name.size() - end.size());
  return name + ".latents.safetensors";
}

void write_latents(const std::string& path, const DrivingLog& log, const std::vector<float>& latents,
                   const std::string& tokenizer_hash) {
  const int64_t h = log.camera.height / Tokenizer::kReduction, w = log.camera.width / Tokenizer::kReduction;
  const Sizes sizes{log.frame_count(), h, w, Tokenizer::kChannels};
  CHECK(int64_t(latents.size()) == sizes.count(), "{}: {} numbers are no latents {}", path, latents.size(), to_string(sizes));
  const NamedView arrays[] = {
      {"latents", View(const_cast<float*>(latents.data()), DType::f32, sizes)},
      {"frame_times", View(const_cast<double*>(log.frame_times_s.data()), DType::f64, {log.frame_count()})}};
  write_safetensors(path, arrays,
                    {{"format", std::string(kFormat)},
                     {"height", std::to_string(log.camera.height)},
                     {"tokenizer", tokenizer_hash},
                     {"width", std::to_string(log.camera.width)}});
}

HostArray read_latents(const std::string& path, const std::string& tokenizer_hash) {
  const SafeTensors file(path);
  auto text = [&](std::string_view key) -> std::string {
    for (const auto& [name, value] : file.metadata())
      if (name == key) return value;
    return {};
  };
  CHECK(text("format") == kFormat, "{}: its format is '{}'; accepted: '{}'", path, text("format"), kFormat);
  CHECK(text("tokenizer") == tokenizer_hash, "{}: latents of the tokenizer {}; those of {} are needed: run `encode` again", path,
        text("tokenizer"), tokenizer_hash);
  const StoredArray& a = file.at("latents");
  CHECK(a.element == Element::f32 && a.shape.size() == 4 && a.shape[3] == Tokenizer::kChannels,
        "{}: latents must be F32 (T,h,w,{}), got {} {}", path, Tokenizer::kChannels, name_of(a.element), shape_text(a.shape));
  return HostArray::of(a);
}

}  // namespace dr
