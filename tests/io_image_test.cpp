// PNG and JPEG: round trips, known files, and what is refused before it is decoded.

#include "io/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/io_files.h"
#include "tests/io_samples.h"

namespace dr::test {
namespace {

Image pattern(int width, int height, int channels) {
  Image m{width, height, channels, {}};
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      for (int c = 0; c < channels; c++) m.pixels.push_back(uint8_t(x * 5 + y * 3 * (c + 1) + c * 40 + (x ^ y) % 7));
  return m;
}

uint32_t crc32(std::string_view bytes) {  // bit by bit
  uint32_t c = ~0u;
  for (char b : bytes) {
    c ^= uint8_t(b);
    for (int i = 0; i < 8; i++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
  }
  return ~c;
}
std::string big_endian(uint32_t v) { return {char(v >> 24), char(v >> 16), char(v >> 8), char(v)}; }
std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(uint32_t(data.size())) + type + data + big_endian(crc32(type + data));
}
// A whole PNG whose header says what it likes.
std::string png_of(uint32_t width, uint32_t height, int bits, int colour, const std::string& compressed) {
  const std::string header = big_endian(width) + big_endian(height) + char(bits) + char(colour) + std::string(3, '\0');
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", compressed) + chunk("IEND", "");
}
std::string refused(std::string_view bytes) {
  return error_of([&] { decode_image(bytes, "f"); });
}

TEST(Image, PngRoundTrip) {
  Folder folder;
  for (auto [width, height] : {std::pair{1, 1}, {33, 7}, {256, 128}})
    for (int channels : {1, 3}) {
      const Image m = pattern(width, height, channels);
      write_png(folder.file("a"), m);
      const Image back = read_image(folder.file("a"), channels);
      EXPECT_EQ(back.width, width);
      EXPECT_EQ(back.height, height);
      EXPECT_EQ(back.pixels, m.pixels);
      const Image rgb = read_image(folder.file("a"));
      EXPECT_EQ(rgb.channels, 3);
      for (size_t i = 0; channels == 1 && i < m.pixels.size(); i++)
        for (size_t c = 0; c < 3; c++) ASSERT_EQ(rgb.pixels[3 * i + c], m.pixels[i]);
    }
}

TEST(Image, DepthRoundTrip) {
  Folder folder;
  Image16 m{257, 61, {}};
  for (size_t i = 0; i < 257 * 61; i++) m.pixels.push_back(uint16_t(i * 40503));
  write_png(folder.file("a"), m);
  const ImageInfo info = image_info(folder.read("a"), "a");
  EXPECT_EQ(info.bits, 16);
  EXPECT_EQ(info.kind, "grey");
  EXPECT_EQ(read_image16(folder.file("a")).pixels, m.pixels);
  EXPECT_TRUE(holds(error_of([&] { read_image(folder.file("a")); }), "has 16 bits per channel; accepted here: 8"));
  write_png(folder.file("b"), pattern(3, 3, 1));
  EXPECT_TRUE(
      holds(error_of([&] { read_image16(folder.file("b")); }), "is grey with 8 bits; accepted here: grey PNG with 16"));
}

TEST(Image, JpegRoundTripIsClose) {
  Folder folder;
  Image m{96, 40, 3, {}};
  for (int y = 0; y < m.height; y++)
    for (int x = 0; x < m.width; x++)
      for (int c = 0; c < 3; c++) m.pixels.push_back(uint8_t(128 + 100 * std::sin(0.05 * x + 0.1 * y * c)));
  const auto error = [&](int quality) {
    write_jpeg(folder.file("a"), m, quality);
    const Image back = read_image(folder.file("a"));
    double sum = 0;
    for (size_t i = 0; i < m.pixels.size(); i++) sum += std::abs(int(back.pixels[i]) - int(m.pixels[i]));
    return sum / double(m.pixels.size());
  };
  EXPECT_LT(error(95), 1.5);
  EXPECT_GT(error(5), error(95));
  EXPECT_TRUE(holds(error_of([&] { write_jpeg(folder.file("a"), m, 0); }), "JPEG quality 0; accepted: 1 to 100"));
}

TEST(Image, ReadsWhatOthersWrote) {
  const std::string palette = base64_decoded(kPalettePng), alpha = base64_decoded(kAlphaPng);
  const std::string interlaced = base64_decoded(kInterlacedPng), progressive = base64_decoded(kProgressiveJpeg);
  EXPECT_EQ(decode_image(palette, "f").pixels,
            (std::vector<uint8_t>{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 255, 0, 255, 0}));
  EXPECT_EQ(image_info(palette, "f").kind, "palette");
  EXPECT_EQ(image_info(alpha, "f").kind, "RGB+alpha");
  EXPECT_EQ(decode_image(alpha, "f").pixels, (std::vector<uint8_t>{1, 2, 3, 64, 128, 0}));
  EXPECT_TRUE(image_info(interlaced, "f").interlaced);
  const Image m = decode_image(interlaced, "f");
  ASSERT_EQ(m.pixels.size(), 11u * 9 * 3);
  for (size_t i = 0; i < m.pixels.size(); i += 3)
    EXPECT_TRUE(m.pixels[i] % 3 == 0 && m.pixels[i + 1] == m.pixels[i] + 1 && m.pixels[i + 2] == m.pixels[i] + 2);
  EXPECT_EQ(m.pixels[3 * (11 + 5)], 3);  // the second row, as Pillow reads it
  EXPECT_EQ(m.pixels[3 * (11 + 9)], 9);
  const Image grey = decode_image(progressive, "f");  // a grey picture in colour
  ASSERT_EQ(grey.pixels.size(), 9u * 9 * 3);
  for (size_t i = 0; i < grey.pixels.size(); i += 3) EXPECT_NEAR(grey.pixels[i], grey.pixels[i + 2], 2);
}

TEST(Image, ReadsKitti) {
  const char* data = std::getenv("DREAMROAD_DATA");
  const std::string folder = data ? std::string(data) + "/kitti_raw_0001" : "";
  if (!data || !std::filesystem::exists(folder)) GTEST_SKIP() << "DREAMROAD_DATA names no folder with kitti_raw_0001";
  int images = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/depth_02")) {
    if (images++ == 3) break;
    const Image16 depth = read_image16(entry.path());
    EXPECT_EQ(depth.width, 397);
    EXPECT_EQ(depth.height, 120);
    const auto present = std::count_if(depth.pixels.begin(), depth.pixels.end(), [](uint16_t v) { return v > 0; });
    EXPECT_NEAR(double(present) / (397 * 120), 0.33, 0.1);
  }
}

TEST(Image, AbsurdSizesAreRefusedFromTheHeader) {
  EXPECT_EQ(refused(png_of(100'000, 100'000, 8, 2, "x")), "f: 100000 x 100000 pixels; accepted: 1 to 16384 a side");
  EXPECT_EQ(refused(png_of(16385, 1, 8, 2, "x")), "f: 16385 x 1 pixels; accepted: 1 to 16384 a side");
  EXPECT_EQ(refused(png_of(0, 5, 8, 2, "x")), "f: 0 x 5 pixels; accepted: 1 to 16384 a side");
  EXPECT_EQ(refused(png_of(0xffffffffu, 5, 8, 2, "x")), "f: 4294967295 x 5 pixels; accepted: 1 to 16384 a side");
  EXPECT_TRUE(holds(refused(png_of(16384, 16384, 8, 2, "x")), "16384 x 16384 pixels cannot be in a file of 58 bytes"));
  std::string jpeg = encode_jpeg(pattern(16, 16, 3));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, jpeg.npos);
  jpeg.replace(frame + 5, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(refused(jpeg), "f: 65535 x 65535 pixels; accepted: 1 to 16384 a side");
  jpeg.replace(frame + 5, 4, "\x3f\xff\x3f\xff");
  EXPECT_TRUE(holds(refused(jpeg), "16383 x 16383 pixels cannot be in a file of"));
}

TEST(Image, DamageIsRefused) {
  const std::string png = encode_png(pattern(20, 10, 3));
  for (size_t n = 0; n < png.size(); n++) refused(std::string_view(png).substr(0, n));
  for (size_t i = 0; i < 8 * png.size(); i++) {  // every flipped bit, whatever it hits
    std::string bad = png;
    bad[i / 8] = char(bad[i / 8] ^ 1 << i % 8);
    refused(bad);
  }
  const std::string jpeg = encode_jpeg(pattern(40, 24, 3));
  for (size_t n = 0; n < jpeg.size(); n++) refused(std::string_view(jpeg).substr(0, n));
  EXPECT_TRUE(holds(refused("GIF89a"), "f: is neither PNG nor JPEG"));
  EXPECT_TRUE(holds(refused(""), "f: is neither PNG nor JPEG"));
}

TEST(Image, BrokenSegmentsAreRefused) {
  const std::string good = encode_jpeg(pattern(16, 16, 3));
  const auto with = [&](size_t at, const std::string& bytes) {
    return std::string(good).replace(at, bytes.size(), bytes);
  };
  const size_t frame = good.find("\xff\xc0"), tables = good.find("\xff\xc4"), scan = good.find("\xff\xda");
  EXPECT_TRUE(holds(refused(with(tables + 5, "\xff\xff")), "a Huffman table of the JPEG is damaged"));
  EXPECT_TRUE(
      holds(refused(with(tables + 2, std::string("\0\x01", 2))), "the JPEG is cut short in the segment at byte"));
  EXPECT_TRUE(holds(refused(with(frame + 1, "\xc9")), "arithmetic JPEG; accepted: baseline and progressive"));
  EXPECT_TRUE(holds(refused(with(frame + 4, "\x0c")), "a JPEG of 12 bits per channel; accepted: 8"));
  EXPECT_TRUE(holds(refused(with(frame, std::string("\0\xc0", 2))), "the JPEG is damaged at byte"));
  EXPECT_TRUE(holds(refused(good.substr(0, frame) + "\xff\xd9"), "the JPEG has no header"));
  std::string scans;
  for (int i = 0; i < 1001; i++) scans += good.substr(scan, 14);
  EXPECT_TRUE(holds(refused(good.substr(0, scan) + scans + good.substr(scan)), "over a thousand scans"));
  EXPECT_EQ(decode_image(good + "trailing", "f").pixels, decode_image(good, "f").pixels);
}

TEST(Image, BrokenChunksAreRefused) {
  const std::string good = encode_png(pattern(4, 4, 3));
  const std::string body = good.substr(33, good.size() - 33 - 12);
  const std::string begin = good.substr(0, 33), end = good.substr(good.size() - 12);
  EXPECT_EQ(decode_image(begin + chunk("tEXt", "a note") + body + end, "f").pixels, pattern(4, 4, 3).pixels);
  EXPECT_TRUE(holds(refused(begin + chunk("ABCD", "") + body + end), "unknown chunk 'ABCD'"));
  EXPECT_TRUE(holds(refused(chunk("CgBI", "") + good), "is neither PNG nor JPEG"));
  EXPECT_TRUE(holds(refused(begin + begin.substr(8) + body + end), "the image is damaged"));
  EXPECT_TRUE(holds(refused(begin + end), "the image is damaged"));
  EXPECT_TRUE(holds(refused(png_of(4, 4, 3, 2, "x")), "the PNG's header is damaged"));
  EXPECT_TRUE(holds(refused(png_of(4, 4, 8, 5, "x")), "the PNG's header is damaged"));
}

// A megabyte of zeros that inflates to a gigabyte, behind a header of 16 x 16.
TEST(Image, ABombStopsAtTheSizeOfTheHeader) {
  std::string deflate = "\x78\x9c";
  std::string bits;  // one block with fixed codes: a zero byte, then matches of 258 bytes at distance 1
  const auto put = [&](uint32_t code, int n) {
    for (int i = 0; i < n; i++) bits += char(code >> i & 1);
  };
  const auto put_code = [&](uint32_t code, int n) {  // Huffman codes go from the top bit
    for (int i = n - 1; i >= 0; i--) bits += char(code >> i & 1);
  };
  put(1, 1), put(1, 2), put_code(0x30, 8);
  for (int i = 0; i < 700'000; i++) put_code(0xc5, 8), put_code(0, 5);
  put_code(0, 7);
  while (bits.size() % 8) bits += '\0';
  for (size_t i = 0; i < bits.size(); i += 8) {
    int b = 0;
    for (size_t k = 0; k < 8; k++) b |= bits[i + k] << k;
    deflate += char(b);
  }
  EXPECT_EQ(refused(png_of(16, 16, 8, 2, deflate)), "f: the image is damaged (outofmem)");
}

TEST(Image, WriterRefusesImagesThatAreNone) {
  EXPECT_TRUE(holds(error_of([] { encode_png(Image{2, 2, 3, std::vector<uint8_t>(11)}); }), "cannot be encoded"));
  EXPECT_TRUE(holds(error_of([] { encode_png(Image{2, 2, 4, std::vector<uint8_t>(16)}); }), "cannot be encoded"));
  EXPECT_TRUE(holds(error_of([] { encode_png(Image16{0, 2, {}}); }), "cannot be encoded"));
  EXPECT_TRUE(holds(error_of([] { encode_jpeg(Image{}); }), "cannot be encoded"));
}

}  // namespace
}  // namespace dr::test
