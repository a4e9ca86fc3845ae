#include "io/text.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace dr {

size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t{0}; };
  const auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t b = byte(0);
  if (text.empty()) return 0;
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return follows(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) return follows(1, b == 0xe0 ? 0xa0 : 0x80, b == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  if (b >= 0xf0 && b <= 0xf4)
    return follows(1, b == 0xf0 ? 0x90 : 0x80, b == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string shown(std::string_view text, size_t limit) {
  std::string s;
  while (!text.empty()) {
    if (s.size() >= limit) return s + "...";
    const size_t n = utf8_length(text);
    const uint8_t b = uint8_t(text[0]);
    const bool control = b < 0x20 || b == 0x7f || (b == 0xc2 && n == 2 && uint8_t(text[1]) < 0xa0);
    if (n == 0 || control) {
      for (size_t i = 0; i < std::max<size_t>(n, 1); i++) s += format("\\x{:02x}", uint8_t(text[i]));
    } else {
      s += text.substr(0, n);
    }
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return s;
}

std::string with_commas(uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string s;
  for (size_t i = 0; i < digits.size(); i++) {
    if (i > 0 && (digits.size() - i) % 3 == 0) s += ',';
    s += digits[i];
  }
  return s;
}

std::string byte_count(uint64_t bytes) {
  if (bytes < 1024) return format("{} B", bytes);
  double v = double(bytes) / 1024;
  std::string_view unit = "KiB";
  for (std::string_view next : {"MiB", "GiB", "TiB"})
    if (v >= 1024) v /= 1024, unit = next;
  return format("{:.{}f} {}", v, v < 10 ? 2 : v < 100 ? 1 : 0, unit);
}

size_t character_count(std::string_view text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

std::string aligned(const std::vector<std::vector<std::string>>& rows, std::string_view columns) {
  std::vector<size_t> widths(columns.size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], character_count(row[i]));
  std::string s;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); i++) {
      const std::string space(widths[i] - character_count(row[i]), ' ');
      line += (i ? "  " : "") + (columns[i] == 'r' ? space + row[i] : row[i] + space);
    }
    s += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return s;
}

}  // namespace dr
