#include "io/video.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"

#ifdef DR_WITH_FFMPEG

#include <cstring>
#include <exception>

#include "io/file.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

namespace dr {

namespace {

constexpr int kScaling = SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT;

std::string reason(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const {
    if constexpr (requires { Free(&p); }) Free(&p);
    else Free(p);
  }
};
using Codec = std::unique_ptr<AVCodecContext, Freed<avcodec_free_context>>;
using Packet = std::unique_ptr<AVPacket, Freed<av_packet_free>>;
using Frame = std::unique_ptr<AVFrame, Freed<av_frame_free>>;
using Scaler = std::unique_ptr<SwsContext, Freed<sws_freeContext>>;

// Damage is told by exceptions; the library's own lines on stderr would only say it twice. Tables of a damaged file claim
// any size, and the library takes the memory before it reads them: no single piece may be larger than the largest frame.
void prepare_library() {
  static const bool done = (av_log_set_level(AV_LOG_QUIET), av_max_alloc(size_t(kMaxVideoPixels) * 8), true);
  (void)done;
}

}  // namespace

bool has_video() { return true; }

struct VideoReader::State {
  std::string path;
  VideoInfo info;
  AVFormatContext* input = nullptr;
  Codec codec;
  Packet packet{av_packet_alloc()};
  Frame frame{av_frame_alloc()};
  Scaler scaler;
  int stream = -1, format = -1;
  int64_t first_time = AV_NOPTS_VALUE;
  bool drained = false;

  ~State() { avformat_close_input(&input); }
};

VideoReader::VideoReader(const std::string& path) : state_(std::make_unique<State>()) {
  prepare_library();
  State& s = *state_;
  s.path = path;
  // Only files: the library would open network addresses and devices by the same call.
  int error = avformat_open_input(&s.input, ("file:" + path).c_str(), nullptr, nullptr);
  CHECK(error >= 0, "{}: not a video that can be opened: {}", path, reason(error));
  error = avformat_find_stream_info(s.input, nullptr);
  CHECK(error >= 0, "{}: no stream can be made out: {}", path, reason(error));
  const AVCodec* decoder = nullptr;
  s.stream = av_find_best_stream(s.input, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  CHECK(s.stream >= 0 && decoder, "{}: holds no video stream that can be decoded", path);
  const AVStream* stream = s.input->streams[s.stream];
  const int w = stream->codecpar->width, h = stream->codecpar->height;
  CHECK(w > 0 && h > 0 && w <= kMaxImageSide && h <= kMaxImageSide && int64_t{w} * h <= kMaxVideoPixels,
        "{}: frames of {} x {}; sides of 1 to {} and up to {} pixels are accepted", path, w, h, kMaxImageSide, kMaxVideoPixels);
  s.codec.reset(avcodec_alloc_context3(decoder));
  error = avcodec_parameters_to_context(s.codec.get(), stream->codecpar);
  s.codec->thread_count = 1;
  s.codec->flags |= AV_CODEC_FLAG_BITEXACT;
  s.codec->err_recognition |= AV_EF_EXPLODE | AV_EF_CRCCHECK;
  s.codec->max_pixels = kMaxVideoPixels;
  if (error >= 0) error = avcodec_open2(s.codec.get(), decoder, nullptr);
  CHECK(error >= 0, "{}: the {} stream cannot be decoded: {}", path, decoder->name, reason(error));
  s.info.width = w, s.info.height = h;
  const AVRational rate = stream->avg_frame_rate;
  s.info.frames_per_s = rate.den > 0 ? double(rate.num) / rate.den : 0;
  s.info.frames = std::max<int64_t>(0, stream->nb_frames);
  s.info.seconds = s.input->duration > 0 ? double(s.input->duration) / AV_TIME_BASE : 0;
  s.info.codec = decoder->name;
  s.info.container = s.input->iformat->name;
}

VideoReader::~VideoReader() = default;
const VideoInfo& VideoReader::info() const { return state_->info; }

bool VideoReader::next(Image& image, double& time_s) {
  State& s = *state_;
  for (;;) {
    int error = avcodec_receive_frame(s.codec.get(), s.frame.get());
    if (error == 0) break;
    if (error == AVERROR_EOF) return false;
    CHECK(error == AVERROR(EAGAIN), "{}: a frame cannot be decoded: {}", s.path, reason(error));
    if (s.drained) return false;
    error = av_read_frame(s.input, s.packet.get());
    if (error == AVERROR_EOF) {
      s.drained = true;
      avcodec_send_packet(s.codec.get(), nullptr);
      continue;
    }
    CHECK(error >= 0, "{}: cannot be read on: {}", s.path, reason(error));
    if (s.packet->stream_index == s.stream) error = avcodec_send_packet(s.codec.get(), s.packet.get());
    av_packet_unref(s.packet.get());
    CHECK(error >= 0, "{}: a frame cannot be decoded: {}", s.path, reason(error));
  }
  const int w = s.info.width, h = s.info.height;
  CHECK(s.frame->width == w && s.frame->height == h, "{}: frames change from {} x {} to {} x {}", s.path, w, h, s.frame->width,
        s.frame->height);
  if (!s.scaler || s.format != s.frame->format) {
    s.format = s.frame->format;
    s.scaler.reset(sws_getContext(w, h, AVPixelFormat(s.format), w, h, AV_PIX_FMT_RGB24, kScaling, nullptr, nullptr, nullptr));
    CHECK(s.scaler, "{}: its pixel format cannot be converted to RGB", s.path);
    int *table, *inverse_table, from_full, to_full, brightness, contrast, saturation;
    sws_getColorspaceDetails(s.scaler.get(), &inverse_table, &from_full, &table, &to_full, &brightness, &contrast, &saturation);
    const int space = s.frame->colorspace == AVCOL_SPC_UNSPECIFIED ? int(SWS_CS_DEFAULT) : int(s.frame->colorspace);
    sws_setColorspaceDetails(s.scaler.get(), sws_getCoefficients(space), s.frame->color_range == AVCOL_RANGE_JPEG, table, 1,
                             brightness, contrast, saturation);
  }
  image.width = w, image.height = h, image.channels = 3;
  // The scaler writes whole vectors: rows of its own, wide enough, are copied from.
  uint8_t* rows[4] = {};
  int strides[4] = {};
  CHECK(av_image_alloc(rows, strides, w, h, AV_PIX_FMT_RGB24, 64) >= 0, "{}: no memory for a frame of {} x {}", s.path, w, h);
  sws_scale(s.scaler.get(), s.frame->data, s.frame->linesize, 0, h, rows, strides);
  image.pixels.resize(size_t(w) * size_t(h) * 3);
  for (int y = 0; y < h; y++)
    std::memcpy(&image.pixels[size_t(y) * size_t(w) * 3], rows[0] + ptrdiff_t(y) * strides[0], size_t(w) * 3);
  av_freep(&rows[0]);
  const int64_t stamp = s.frame->best_effort_timestamp;
  if (s.first_time == AV_NOPTS_VALUE) s.first_time = stamp;
  const AVRational unit = s.input->streams[s.stream]->time_base;
  time_s = stamp == AV_NOPTS_VALUE ? 0 : double(stamp - s.first_time) * unit.num / unit.den;
  return true;
}

struct VideoWriter::State {
  AtomicFile file;
  std::string path;
  std::exception_ptr failure = nullptr;  // of the file: no exception may pass through the library
  AVFormatContext* output = nullptr;
  AVStream* stream = nullptr;
  Codec codec;
  Packet packet{av_packet_alloc()};
  Frame frame{av_frame_alloc()};
  Scaler scaler;
  std::vector<uint8_t> pixels;
  int64_t count = 0;

  explicit State(const std::string& p) : file(p), path(p) {}
  ~State() {
    if (!output) return;
    if (output->pb) av_freep(&output->pb->buffer);
    avio_context_free(&output->pb);
    avformat_free_context(output);
  }
  void require(int error, const char* what) const {
    if (failure) std::rethrow_exception(failure);
    CHECK(error >= 0, "{}: {}: {}", path, what, reason(error));
  }

  // What the library calls; `self` is a State.
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  using Bytes = const uint8_t*;
#else
  using Bytes = uint8_t*;
#endif
  static int write(void* self, Bytes bytes, int n) {
    return static_cast<State*>(self)->guarded([&](AtomicFile& f) { f.write(bytes, size_t(n)); }) ? n : AVERROR_EXTERNAL;
  }
  static int64_t seek(void* self, int64_t byte, int whence) {
    if (whence != SEEK_SET) return AVERROR(ENOSYS);
    return static_cast<State*>(self)->guarded([&](AtomicFile& f) { f.seek(uint64_t(byte)); }) ? byte : AVERROR_EXTERNAL;
  }
  template <class F>
  bool guarded(F&& f) {
    if (!failure) try {
        f(file);
      } catch (...) {
        failure = std::current_exception();
      }
    return !failure;
  }

  void encode(AVFrame* f) {
    require(avcodec_send_frame(codec.get(), f), "a frame cannot be encoded");
    for (;;) {
      const int error = avcodec_receive_packet(codec.get(), packet.get());
      if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return;
      require(error, "a frame cannot be encoded");
      av_packet_rescale_ts(packet.get(), codec->time_base, stream->time_base);
      packet->stream_index = stream->index;
      packet->duration = av_rescale_q(1, codec->time_base, stream->time_base);
      require(av_interleaved_write_frame(output, packet.get()), "cannot be written");
    }
  }
};

VideoWriter::VideoWriter(const std::string& path, int width, int height, double frames_per_s) {
  prepare_library();
  CHECK(width > 0 && height > 0 && width % 2 == 0 && height % 2 == 0 && width <= kMaxImageSide && height <= kMaxImageSide &&
            int64_t{width} * height <= kMaxVideoPixels,
        "{}: a video of {} x {}: sides must be even, 2 to {}, and up to {} pixels in all", path, width, height, kMaxImageSide,
        kMaxVideoPixels);
  CHECK(frames_per_s > 0 && frames_per_s <= 1000, "{}: {} frames/s: more than 0 and at most 1000 are accepted", path, frames_per_s);
  state_ = std::make_unique<State>(path);
  State& s = *state_;
  const AVCodec* encoder = avcodec_find_encoder_by_name("libx264");
  if (!encoder) encoder = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
  CHECK(encoder, "{}: FFmpeg's libraries have no encoder for H.264 or MPEG-4", path);
  s.require(avformat_alloc_output_context2(&s.output, nullptr, "mp4", nullptr), "no MP4 can be made");
  s.output->flags |= AVFMT_FLAG_BITEXACT;  // no date, no version
  s.codec.reset(avcodec_alloc_context3(encoder));
  AVCodecContext& c = *s.codec;
  c.width = width, c.height = height, c.pix_fmt = AV_PIX_FMT_YUV420P;
  c.time_base = av_d2q(1 / frames_per_s, 1000000);
  c.framerate = av_inv_q(c.time_base);
  c.gop_size = 50;
  c.thread_count = 1;
  c.flags |= AV_CODEC_FLAG_BITEXACT | (s.output->oformat->flags & AVFMT_GLOBALHEADER ? AV_CODEC_FLAG_GLOBAL_HEADER : 0);
  c.colorspace = AVCOL_SPC_SMPTE170M, c.color_range = AVCOL_RANGE_MPEG;
  c.color_primaries = AVCOL_PRI_SMPTE170M, c.color_trc = AVCOL_TRC_SMPTE170M;
  if (encoder->id == AV_CODEC_ID_H264) {
    av_opt_set(c.priv_data, "preset", "medium", 0);
    av_opt_set(c.priv_data, "crf", "18", 0);
    // With it, repeated encodings of one small video differ (x264 164; 64 x 32 pixels).
    av_opt_set(c.priv_data, "mbtree", "0", 0);
  } else {
    c.bit_rate = int64_t(width) * height * 4;
  }
  s.require(avcodec_open2(&c, encoder, nullptr), "the encoder cannot be opened");
  s.stream = avformat_new_stream(s.output, nullptr);
  CHECK(s.stream, "{}: no stream can be made", path);
  s.stream->time_base = c.time_base, s.stream->avg_frame_rate = c.framerate;
  s.require(avcodec_parameters_from_context(s.stream->codecpar, &c), "the stream cannot be described");
  constexpr int kBuffer = 1 << 16;
  s.output->pb = avio_alloc_context(static_cast<uint8_t*>(av_malloc(kBuffer)), kBuffer, 1, &s, nullptr, State::write, State::seek);
  CHECK(s.output->pb, "{}: no memory for a buffer", path);
  s.require(avformat_write_header(s.output, nullptr), "cannot be written");
  s.frame->format = c.pix_fmt, s.frame->width = width, s.frame->height = height;
  s.require(av_frame_get_buffer(s.frame.get(), 64), "no memory for a frame");
  s.scaler.reset(sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, c.pix_fmt, kScaling, nullptr, nullptr, nullptr));
  CHECK(s.scaler, "{}: RGB cannot be converted to the video's colours", path);
}

VideoWriter::~VideoWriter() = default;

void VideoWriter::add(const Image& image) {
  State& s = *state_;
  CHECK(image.channels == 3 && image.width == s.codec->width && image.height == s.codec->height,
        "{}: a frame of {} x {} with {} channels; {} x {} RGB is expected", s.path, image.width, image.height, image.channels,
        s.codec->width, s.codec->height);
  s.require(av_frame_make_writable(s.frame.get()), "no memory for a frame");
  // The library reads a few bytes past the last pixel.
  s.pixels.assign(image.pixels.begin(), image.pixels.end());
  s.pixels.resize(image.pixels.size() + AV_INPUT_BUFFER_PADDING_SIZE);
  const uint8_t* rows[4] = {s.pixels.data()};
  const int strides[4] = {image.width * 3};
  sws_scale(s.scaler.get(), rows, strides, 0, image.height, s.frame->data, s.frame->linesize);
  s.frame->pts = s.count++;
  s.encode(s.frame.get());
}

void VideoWriter::finish() {
  State& s = *state_;
  CHECK(s.count > 0, "{}: a video needs at least one frame", s.path);
  s.encode(nullptr);
  s.require(av_write_trailer(s.output), "cannot be written");
  avio_flush(s.output->pb);
  s.require(s.output->pb->error, "cannot be written");
  s.file.commit();
}

}  // namespace dr

#else

namespace dr {

namespace {
[[noreturn]] void absent(const std::string& path) {
  fail("{}: this program was built without FFmpeg's libraries (apt-get install libavformat-dev libavcodec-dev libavutil-dev "
       "libswscale-dev, then make)", path);
}
}  // namespace

bool has_video() { return false; }
struct VideoReader::State {
  VideoInfo info;
};
VideoReader::VideoReader(const std::string& path) { absent(path); }
VideoReader::~VideoReader() = default;
const VideoInfo& VideoReader::info() const { return state_->info; }
bool VideoReader::next(Image&, double&) { return false; }
struct VideoWriter::State {};
VideoWriter::VideoWriter(const std::string& path, int, int, double) { absent(path); }
VideoWriter::~VideoWriter() = default;
void VideoWriter::add(const Image&) {}
void VideoWriter::finish() {}

}  // namespace dr

#endif
