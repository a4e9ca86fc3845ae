#pragma once
// JSON as files are read here: strictly.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dr {

// Throws "WHERE: not valid JSON at byte N: ..." for anything that RFC 8259 does not allow, text that is not UTF-8, a
// key that stands twice in an object, numbers out of range, and more than 64 levels.
nlohmann::json parse_json(std::string_view text, const std::string& where);
nlohmann::json read_json(const std::string& path, uint64_t limit_bytes = 64 << 20);

}  // namespace dr
