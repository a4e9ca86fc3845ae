#pragma once
// Video files in and out, through FFmpeg's libraries where the build found them. Pictures are the same bytes on every run:
// one thread, bit-exact decoding, scaling and encoding.

#include <cstdint>
#include <memory>
#include <string>

#include "io/image.h"

namespace dr {

inline constexpr int64_t kMaxVideoPixels = int64_t{1} << 25;  // of a frame: 8K is 7680 x 4320

bool has_video();  // whether this program was built with FFmpeg; without it everything below throws and says so

struct VideoInfo {
  int width = 0, height = 0;    // pixels
  double frames_per_s = 0;      // 0: not known
  int64_t frames = 0;           // as the file says; 0: not known
  double seconds = 0;           // 0: not known
  std::string codec, container;
};

class VideoReader {
 public:
  // Opens the file and its first video stream; reads no frame. Throws where it is no video, or a side is longer than
  // kMaxImageSide or a frame larger than kMaxVideoPixels.
  explicit VideoReader(const std::string& path);
  ~VideoReader();

  const VideoInfo& info() const;
  // The next frame as RGB and its time from the start of the video in seconds; false at the end. Throws where the data
  // is damaged.
  bool next(Image& frame, double& time_s);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// H.264 in MP4 (MPEG-4 part 2 where the libraries lack an H.264 encoder). Sides must be even. The file appears under its
// name when finish() has succeeded, and not before; without finish() nothing is left.
class VideoWriter {
 public:
  VideoWriter(const std::string& path, int width, int height, double frames_per_s);
  ~VideoWriter();

  void add(const Image& frame);  // RGB
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dr
