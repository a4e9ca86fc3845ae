#pragma once
// Between a log's frames and the latents that a world model speaks: a tokenizer's, or means of 8 x 8 pixels where there
// is no tokenizer.

#include <optional>

#include "train/dataset.h"
#include "train/latents.h"

namespace dr {

class LatentCodec {
 public:
  // `tokenizer`: path of its checkpoint; empty: none.
  LatentCodec(Runtime& runtime, const std::string& tokenizer);

  const std::string& hash() const { return tokenizer_.hash; }  // "none" without a tokenizer
  std::string words() const;                                   // for messages

  // The latents of all frames of the logs that `data` opened; those that `encode` has left beside a log are read
  // instead.
  std::vector<LatentLog> encode(const Logs& logs, const DataSettings& data) const;
  Tensor decode(const Tensor& latents) const;   // (N,h,w,4) -> (N,8h,8w,3) u8
  Tensor latents(const Tensor& images) const;   // (N,8h,8w,3) f32 in [-1, 1] -> (N,h,w,4)

 private:
  Tensor images(const Tensor& latents) const;  // (N,8h,8w,3) f32

  Runtime& runtime_;
  std::string path_;
  LoadedTokenizer tokenizer_;
};

}  // namespace dr
