#pragma once
// Text that came from a file, made fit for a one-line message or a table.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dr {

// Valid UTF-8 as it is, control characters and broken bytes as \xNN; cut at about `limit` bytes.
std::string shown(std::string_view text, size_t limit = 80);

// Bytes of the valid UTF-8 character that text starts with (1 to 4), or 0. Overlong forms and surrogates are not valid.
size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

// 1234567890 as "1,234,567,890", and as "1.15 GiB".
std::string with_commas(uint64_t n);
std::string byte_count(uint64_t bytes);

}  // namespace dr
