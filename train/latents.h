#pragma once
// A trained tokenizer from its checkpoint, and the latents of whole logs: in memory, or in files beside the logs.
//
//   NAME.latents.safetensors   latents (T,h,w,4) F32, frame_times (T) F64 seconds; metadata: format = "dreamroad latents 1",
//                              tokenizer (its hash), width, height (pixels of the frames that were encoded)

#include <memory>

#include "io/log.h"
#include "model/tokenizer.h"
#include "train/fields.h"

namespace dr {

// A log with the latents of its frames, (T,h,w,c) f32.
struct LatentLog {
  std::shared_ptr<const DrivingLog> log;
  std::vector<float> latents;
};

const Fields<TokenizerConfig>& tokenizer_fields();

struct LoadedTokenizer {
  std::unique_ptr<Parameters> parameters;  // the averaged weights
  std::unique_ptr<Tokenizer> tokenizer;
  std::string hash;                        // of the parameters: which latents are its own
  int width = 0, height = 0;               // of the frames that it was trained on
};
// Throws where the file is no checkpoint of a tokenizer, is damaged, or its training has not ended.
LoadedTokenizer load_tokenizer(Runtime& runtime, const std::string& path);

// Frames [first, first + count) as images in [-1, 1], (count,H,W,3).
Tensor frames_to_images(Runtime& runtime, const DrivingLog& log, int64_t first, int64_t count);
// Latents of every frame, (T,h,w,4) in row-major order.
std::vector<float> encode_log(Runtime& runtime, const Tokenizer& tokenizer, const DrivingLog& log);

// Means of each 8 x 8 pixels in [-1, 1] and a fourth channel of zeros, (T,H/8,W/8,4): latents that need no tokenizer.
std::vector<float> thumbnails(const DrivingLog& log);

// "DIR/NAME.latents.safetensors" of a log at DIR/NAME.safetensors or in the folder DIR/NAME.
std::string latents_path(const std::string& log);
void write_latents(const std::string& path, const DrivingLog& log, const std::vector<float>& latents,
                   const std::string& tokenizer_hash);
// (T,h,w,4), in the mapped file. Throws where another tokenizer made them.
HostArray read_latents(const std::string& path, const std::string& tokenizer_hash);

}  // namespace dr
