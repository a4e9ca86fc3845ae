#include "io/image.h"

#include "tests/fuzz/fuzz.h"

using namespace dr;

namespace {

// Gives every chunk of a PNG the checksum of its bytes, which mutation alone would hardly ever find.
std::string with_checksums(std::string_view bytes) {
  std::string s(bytes);
  const auto byte = [&](size_t i) { return uint8_t(s[i]); };
  for (size_t at = 8; is_png(s) && s.size() - at >= 12;) {
    const size_t n =
        size_t{byte(at)} << 24 | size_t{byte(at + 1)} << 16 | size_t{byte(at + 2)} << 8 | size_t{byte(at + 3)};
    if (n > s.size() - at - 12) break;
    uint32_t c = ~0u;
    for (size_t i = at + 4; i < at + 8 + n; i++) {
      c ^= byte(i);
      for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < 4; i++) s[at + 8 + n + i] = char(~c >> (24 - 8 * i));
    at += 12 + n;
  }
  return s;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes = with_checksums(fuzz::text_of(data, size));
  fuzz::may_refuse([&] { decode_image(bytes, "f"); });
  fuzz::may_refuse([&] { decode_image(bytes, "f", 1); });
  fuzz::may_refuse([&] { decode_image16(bytes, "f"); });
  return 0;
}
