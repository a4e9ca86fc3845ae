#pragma once
// Text that came from a file, made fit for a one-line message or a table.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dr {

// Valid UTF-8 as it is, control characters and broken bytes as \xNN; cut at about `limit` bytes.
std::string shown(std::string_view text, size_t limit = 80);

// Bytes of the valid UTF-8 character that text starts with (1 to 4), or 0. Overlong forms and surrogates are not valid.
size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

// 1234567890 as "1,234,567,890", and as "1.15 GiB".
std::string with_commas(uint64_t n);
std::string byte_count(uint64_t bytes);

// Columns as wide as their longest cell, two spaces apart; `columns` has a letter for each, 'l' or 'r' for the
// side where they are flush. A row may be shorter than the first.
std::string aligned(const std::vector<std::vector<std::string>>& rows, std::string_view columns);

// Characters of valid UTF-8, which is what a terminal's columns come to for most scripts.
size_t character_count(std::string_view text);

}  // namespace dr
