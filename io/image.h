#pragma once
// Images: PNG and JPEG in, PNG and JPEG out. Rows from the top, pixels from the left, channels interleaved.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dr {

inline constexpr int kMaxImageSide = 16384;  // pixels

struct Image {
  int width = 0, height = 0, channels = 3;  // 3: RGB, 1: grey
  std::vector<uint8_t> pixels;
};
struct Image16 {  // grey: depth maps, labels
  int width = 0, height = 0;
  std::vector<uint16_t> pixels;
};

struct ImageInfo {
  enum class Format : uint8_t { png, jpeg } format = Format::png;
  int width = 0, height = 0;
  int bits = 8;           // per channel
  std::string_view kind;  // "grey", "grey+alpha", "RGB", "RGB+alpha", "palette"
  bool interlaced = false;
};

bool is_png(std::string_view bytes);
bool is_jpeg(std::string_view bytes);

// From the header alone. Throws where it is neither PNG nor JPEG, a side is longer than kMaxImageSide, or the file is
// too short to hold that many pixels however well they were compressed.
ImageInfo image_info(std::string_view bytes, const std::string& name);

// 8 bits per channel. With 3 channels grey becomes RGB; with 1 only grey is accepted. Palettes are resolved, alpha is
// dropped. PNG: every chunk's checksum is verified. JPEG has none: a file that is cut is refused, a changed byte inside
// may not be.
Image read_image(const std::string& path, int channels = 3);
Image decode_image(std::string_view bytes, const std::string& name, int channels = 3);
// 16-bit grey PNG.
Image16 read_image16(const std::string& path);
Image16 decode_image16(std::string_view bytes, const std::string& name);

std::string encode_png(const Image& image);
std::string encode_png(const Image16& image);
std::string encode_jpeg(const Image& image, int quality = 90);  // 1 to 100
void write_png(const std::string& path, const Image& image);
void write_png(const std::string& path, const Image16& image);
void write_jpeg(const std::string& path, const Image& image, int quality = 90);

}  // namespace dr
