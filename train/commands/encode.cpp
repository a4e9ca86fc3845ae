// encode: the latents of every frame of driving logs, stored beside the logs.

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "io/file.h"
#include "train/commands/command.h"
#include "train/dataset.h"
#include "train/latents.h"

namespace dr::cli {

namespace {

struct EncodeOptions {
  Common common;
  std::string tokenizer;
  DataSettings data;
};

int encode(const EncodeOptions& o) {
  Runtime runtime(o.common.runtime());
  const LoadedTokenizer t = load_tokenizer(runtime, o.tokenizer);
  if (!o.common.out.empty()) create_folder(o.common.out);
  nlohmann::json files = nlohmann::json::array();
  int64_t frames = 0;
  double seconds = 0;
  for (const std::string& source : dataset_paths(o.data.data)) {
    DataSettings one = o.data;
    one.data = source, one.width = t.width, one.height = t.height;
    const Logs logs = open_dataset(runtime, one, o.common.seed);
    const auto start = std::chrono::steady_clock::now();
    const std::vector<float> latents = encode_log(runtime, *t.tokenizer, *logs[0]);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    frames += logs[0]->frame_count();
    std::filesystem::path path = latents_path(source);
    if (!o.common.out.empty()) path = std::filesystem::path(o.common.out) / path.filename();
    write_latents(path.string(), *logs[0], latents, t.hash);
    files.push_back(path.string());
    if (!o.common.quiet) std::printf("%s  %lld frames\n", path.c_str(), static_cast<long long>(logs[0]->frame_count()));
  }
  const double rate = double(frames) / seconds;
  std::printf("%lld frames in %.1f s, %.0f frames/s\n", static_cast<long long>(frames), seconds, rate);
  if (!o.common.json.empty()) {
    const nlohmann::json result = {{"frames", frames}, {"frames_per_s", rate}, {"seconds", seconds}, {"files", files},
                                   {"tokenizer_hash", t.hash}};
    write_file(o.common.json, result.dump(1) + "\n");
  }
  return kDone;
}

}  // namespace

void add_encode(Command& app, Body& body) {
  auto options = std::make_shared<EncodeOptions>();
  Command command = app.add_subcommand("encode", "latents of every frame of driving logs, stored beside the logs");
  add_common(command, options->common);
  command.add_option("--tokenizer", options->tokenizer, "checkpoint of `train tokenizer`").required();
  command.add_option("--data", options->data.data, "a log, or a folder of segments").required();
  command.add_option("--frames", options->data.frames, "A:B, frames of each log from A up to and without B; none: all");
  command.callback([options, &body] { body = [options] { return encode(*options); }; });
}

}  // namespace dr::cli
