#include "io/image.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "io/file.h"
#include "io/stb.h"
#include "io/text.h"
#include "kernels/core/check.h"

namespace dr {
namespace {

static_assert(STBI_MAX_DIMENSIONS == kMaxImageSide);
constexpr uint64_t kFileLimit = uint64_t{1} << 30;
constexpr std::string_view kPngMagic = "\x89PNG\r\n\x1a\n";
constexpr size_t kPngHeaderEnd = 33;  // magic, and IHDR with its length, name and checksum

const stbi_uc* as_bytes(std::string_view s) { return reinterpret_cast<const stbi_uc*>(s.data()); }
uint8_t byte_at(std::string_view s, size_t i) { return uint8_t(s[i]); }
uint32_t big_endian(std::string_view s, size_t i) {
  return uint32_t{byte_at(s, i)} << 24 | uint32_t{byte_at(s, i + 1)} << 16 | uint32_t{byte_at(s, i + 2)} << 8 |
         byte_at(s, i + 3);
}

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    table[i] = c;
  }
  return table;
}();

uint32_t crc32(std::string_view s) {
  uint32_t c = ~0u;
  for (char b : s) c = kCrcTable[(c ^ uint8_t(b)) & 255] ^ c >> 8;
  return ~c;
}

int png_channels(int colour_type) {
  constexpr int kChannels[7] = {1, 0, 3, 1, 2, 0, 4};
  return colour_type <= 6 ? kChannels[colour_type] : 0;
}

ImageInfo png_info(std::string_view b, const std::string& name) {
  CHECK(b.size() >= kPngHeaderEnd && b.substr(8, 8) == std::string_view("\0\0\0\rIHDR", 8),
        "{}: the PNG does not begin with its header chunk", name);
  CHECK(crc32(b.substr(12, 17)) == big_endian(b, 29), "{}: the PNG's header is damaged", name);
  const uint32_t width = big_endian(b, 16), height = big_endian(b, 20);
  const int bits = byte_at(b, 24), colour = byte_at(b, 25), channels = png_channels(colour);
  const bool has_bits = bits == 8 || (bits == 16 && colour != 3) ||
                        ((bits == 1 || bits == 2 || bits == 4) && (colour == 0 || colour == 3));
  CHECK(channels > 0 && has_bits && byte_at(b, 26) == 0 && byte_at(b, 27) == 0 && byte_at(b, 28) <= 1,
        "{}: the PNG's header is damaged", name);
  CHECK(width >= 1 && height >= 1 && width <= kMaxImageSide && height <= kMaxImageSide,
        "{}: {} x {} pixels; accepted: 1 to {} a side", name, width, height, kMaxImageSide);
  const uint64_t raw = uint64_t{height} * (1 + (uint64_t{width} * uint64_t(channels * bits) + 7) / 8);
  CHECK(raw / 1032 <= b.size(),  // deflate's best: 258 bytes for two bits
        "{}: {} x {} pixels cannot be in a file of {} bytes; it is cut short or damaged", name, width, height,
        b.size());
  constexpr std::string_view kKinds[7] = {"grey", "", "RGB", "palette", "grey+alpha", "", "RGB+alpha"};
  return {ImageInfo::Format::png, int(width), int(height), bits, kKinds[colour], byte_at(b, 28) == 1};
}

// stb 2.27 writes past the table of a code with more than 256 symbols.
void check_huffman(std::string_view tables, const std::string& name) {
  while (!tables.empty()) {
    size_t symbols = 0;
    for (size_t i = 1; i <= 16 && i < tables.size(); i++) symbols += byte_at(tables, i);
    CHECK(symbols <= 256 && tables.size() >= 17 + symbols, "{}: a Huffman table of the JPEG is damaged", name);
    tables.remove_prefix(17 + symbols);
  }
}

// Calls f(marker, payload) for each segment up to the end of the image, or until f returns false. What lies between a
// scan's header and the next segment is compressed data: there 0xff stands before 0 or a restart marker only.
template <class F>
void for_segments(std::string_view b, const std::string& name, F&& f) {
  for (size_t at = 2;;) {
    while (at + 1 < b.size() && byte_at(b, at) == 0xff && byte_at(b, at + 1) == 0xff) at++;  // fill
    CHECK(at + 2 <= b.size(), "{}: the JPEG is cut short", name);
    const int marker = byte_at(b, at) == 0xff ? byte_at(b, at + 1) : 0;
    if (marker == 0xd9) return;
    CHECK(marker >= 0xc0 && !(marker >= 0xd0 && marker <= 0xd8), "{}: the JPEG is damaged at byte {}", name, at);
    at += 2;
    const size_t n = at + 2 <= b.size() ? size_t{byte_at(b, at)} << 8 | byte_at(b, at + 1) : 0;
    CHECK(n >= 2 && n <= b.size() - at, "{}: the JPEG is cut short in the segment at byte {}", name, at - 2);
    if (!f(marker, b.substr(at + 2, n - 2))) return;
    at += n;
    if (marker != 0xda) continue;
    for (;; at += 2) {
      at = b.find('\xff', at);
      CHECK(at != b.npos && at + 1 < b.size(), "{}: the JPEG is cut short", name);
      const int next = byte_at(b, at + 1);
      if (next != 0 && !(next >= 0xd0 && next <= 0xd7)) break;
    }
  }
}

ImageInfo jpeg_info(std::string_view b, const std::string& name) {
  ImageInfo info;
  info.format = ImageInfo::Format::jpeg;
  for_segments(b, name, [&](int marker, std::string_view s) {
    if (marker < 0xc0 || marker > 0xcf || marker == 0xc4 || marker == 0xc8 || marker == 0xcc) return true;
    CHECK(marker <= 0xc2, "{}: a lossless, hierarchical or arithmetic JPEG; accepted: baseline and progressive", name);
    CHECK(s.size() >= 6, "{}: the JPEG's header is damaged", name);
    info.bits = byte_at(s, 0);
    info.height = byte_at(s, 1) << 8 | byte_at(s, 2), info.width = byte_at(s, 3) << 8 | byte_at(s, 4);
    info.kind = byte_at(s, 5) == 1 ? "grey" : "RGB";
    return false;
  });
  CHECK(!info.kind.empty(), "{}: the JPEG has no header", name);
  CHECK(info.bits == 8, "{}: a JPEG of {} bits per channel; accepted: 8", name, info.bits);
  CHECK(info.width >= 1 && info.height >= 1 && info.width <= kMaxImageSide && info.height <= kMaxImageSide,
        "{}: {} x {} pixels; accepted: 1 to {} a side", name, info.width, info.height, kMaxImageSide);
  CHECK(uint64_t(info.width) * uint64_t(info.height) <= 1024 * uint64_t{b.size()},  // a bit per block of 8 x 8 at least
        "{}: {} x {} pixels cannot be in a file of {} bytes; it is cut short or damaged", name, info.width, info.height,
        b.size());
  return info;
}

// Every chunk's name, length and checksum.
void check_chunks(std::string_view b, const std::string& name) {
  for (size_t at = kPngMagic.size();;) {
    CHECK(b.size() - at >= 12, "{}: the PNG is cut short at byte {}", name, at);
    const uint64_t n = big_endian(b, at);
    CHECK(n <= b.size() - at - 12, "{}: the PNG is cut short in the chunk at byte {}", name, at);
    const std::string_view type = b.substr(at + 4, 4);
    CHECK(crc32(b.substr(at + 4, n + 4)) == big_endian(b, at + 8 + n), "{}: the PNG is damaged in the chunk at byte {}",
          name, at);
    if (type == "IEND") return;
    const bool optional = type[0] & 0x20;
    CHECK(optional || type == "IHDR" || type == "PLTE" || type == "IDAT", "{}: the PNG has an unknown chunk '{}'", name,
          shown(type));
    CHECK(type != "CgBI", "{}: Apple's variant of PNG is not read", name);
    at += 12 + n;
  }
}

void check_segments(std::string_view b, const std::string& name) {
  int scans = 0;
  for_segments(b, name, [&](int marker, std::string_view s) {
    if (marker == 0xc4) check_huffman(s, name);
    if (marker == 0xda) scans++;
    CHECK(scans <= 1000, "{}: the JPEG has over a thousand scans, which would take hours", name);
    return true;
  });
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// Calls a decoder of stb with limits that fit the header.
template <class T, class Decode>
std::unique_ptr<T, Free> decode(std::string_view b, const std::string& name, const ImageInfo& info, Decode&& f) {
  if (info.format == ImageInfo::Format::png) check_chunks(b, name);
  else check_segments(b, name);
  // The most that a sound file needs: its pixels in four channels or 16 bits, and the buffers into which the compressed
  // and the inflated bytes are collected, which grow by doubling.
  const size_t side = 64;  // blocks of a JPEG reach over the edge
  const size_t pixels = (size_t(info.width) + side) * (size_t(info.height) + side);
  stb_allocation_limit = pixels * size_t(info.bits > 8 ? 8 : 4) * 2 + b.size() * 2 + (1 << 20);
  int width = 0, height = 0, found = 0;
  std::unique_ptr<T, Free> data(f(as_bytes(b), int(b.size()), &width, &height, &found));
  CHECK(data, "{}: the image is damaged ({})", name, stbi_failure_reason());
  CHECK(width == info.width && height == info.height, "{}: the image is damaged (its size is given twice)", name);
  return data;
}

void check_image(const Image& m) {
  CHECK((m.channels == 1 || m.channels == 3) && m.width >= 1 && m.height >= 1 && m.width <= kMaxImageSide &&
            m.height <= kMaxImageSide && m.pixels.size() == size_t(m.width) * size_t(m.height) * size_t(m.channels),
        "an image of {} x {} pixels, {} channels and {} bytes cannot be encoded", m.width, m.height, m.channels,
        m.pixels.size());
}

std::string png_bytes(const void* pixels, int width, int height, int channels) {
  int n = 0;
  std::unique_ptr<unsigned char, Free> png(
      stbi_write_png_to_mem(static_cast<const unsigned char*>(pixels), 0, width, height, channels, &n));
  if (!png) throw std::bad_alloc();
  return std::string(reinterpret_cast<const char*>(png.get()), size_t(n));
}

}  // namespace

bool is_png(std::string_view bytes) { return bytes.starts_with(kPngMagic); }
bool is_jpeg(std::string_view bytes) { return bytes.starts_with("\xff\xd8\xff"); }

ImageInfo image_info(std::string_view bytes, const std::string& name) {
  CHECK(bytes.size() <= kFileLimit, "{}: has {}; images are accepted up to {}", name, byte_count(bytes.size()),
        byte_count(kFileLimit));
  if (is_png(bytes)) return png_info(bytes, name);
  CHECK(is_jpeg(bytes), "{}: is neither PNG nor JPEG", name);
  return jpeg_info(bytes, name);
}

Image decode_image(std::string_view bytes, const std::string& name, int channels) {
  CHECK(channels == 1 || channels == 3, "{}: read with {} channels; accepted: 1, 3", name, channels);
  const ImageInfo info = image_info(bytes, name);
  CHECK(info.bits <= 8, "{}: has 16 bits per channel; accepted here: 8", name);
  CHECK(channels == 3 || info.kind.starts_with("grey"), "{}: is {}; accepted here: grey", name, info.kind);
  const auto data = decode<stbi_uc>(bytes, name, info, [&](const stbi_uc* b, int n, int* w, int* h, int* c) {
    return stbi_load_from_memory(b, n, w, h, c, channels);
  });
  const size_t n = size_t(info.width) * size_t(info.height) * size_t(channels);
  return {info.width, info.height, channels, {data.get(), data.get() + n}};
}

Image16 decode_image16(std::string_view bytes, const std::string& name) {
  const ImageInfo info = image_info(bytes, name);
  CHECK(info.bits == 16 && info.kind == "grey", "{}: is {} with {} bits; accepted here: grey PNG with 16 bits", name,
        info.kind, info.bits);
  const auto data = decode<stbi_us>(bytes, name, info, [&](const stbi_uc* b, int n, int* w, int* h, int* c) {
    return stbi_load_16_from_memory(b, n, w, h, c, 1);
  });
  const size_t n = size_t(info.width) * size_t(info.height);
  return {info.width, info.height, {data.get(), data.get() + n}};
}

Image read_image(const std::string& path, int channels) {
  return decode_image(MappedFile(path).bytes(), path, channels);
}
Image16 read_image16(const std::string& path) { return decode_image16(MappedFile(path).bytes(), path); }

std::string encode_png(const Image& image) {
  check_image(image);
  return png_bytes(image.pixels.data(), image.width, image.height, image.channels);
}

std::string encode_png(const Image16& image) {
  const size_t count = image.pixels.size();
  Image bytes{image.width, image.height, 1, {}};
  bytes.pixels.resize(count);
  check_image(bytes);
  bytes.pixels.resize(2 * count);
  for (size_t i = 0; i < count; i++) {
    bytes.pixels[2 * i] = uint8_t(image.pixels[i] >> 8);
    bytes.pixels[2 * i + 1] = uint8_t(image.pixels[i]);
  }
  // stb writes 8 bits per channel only. Grey with alpha has the same bytes, in the same order and filtered over the
  // same distance of two, as 16-bit grey; so only the header has to say the other thing.
  std::string png = png_bytes(bytes.pixels.data(), image.width, image.height, 2);
  png[24] = 16;
  png[25] = 0;
  const uint32_t crc = crc32(std::string_view(png).substr(12, 17));
  for (size_t i = 0; i < 4; i++) png[29 + i] = char(crc >> (24 - 8 * i));
  return png;
}

std::string encode_jpeg(const Image& image, int quality) {
  check_image(image);
  CHECK(quality >= 1 && quality <= 100, "JPEG quality {}; accepted: 1 to 100", quality);
  std::string jpeg;
  const auto append = [](void* to, void* data, int n) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size_t(n));
  };
  stbi_write_jpg_to_func(append, &jpeg, image.width, image.height, image.channels, image.pixels.data(), quality);
  return jpeg;
}

void write_png(const std::string& path, const Image& image) { write_file(path, encode_png(image)); }
void write_png(const std::string& path, const Image16& image) { write_file(path, encode_png(image)); }
void write_jpeg(const std::string& path, const Image& image, int quality) {
  write_file(path, encode_jpeg(image, quality));
}

}  // namespace dr
