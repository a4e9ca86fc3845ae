#include "io/json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "io/file.h"
#include "io/text.h"
#include "kernels/core/check.h"

namespace dr {

using nlohmann::json;

constexpr int kDepthLimit = 64;

json parse_json(std::string_view text, const std::string& where) {
  // The parser takes a zero byte for the end of the text.
  CHECK(text.find('\0') == text.npos, "{}: not valid JSON at byte {}: a zero byte", where, text.find('\0'));
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    CHECK(depth < kDepthLimit, "{}: more than {} levels", where, kDepthLimit);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key)
      CHECK(keys.back().insert(value.get<std::string>()).second, "{}: the key '{}' stands twice", where,
            shown(value.get<std::string>()));
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::parse_error& e) {
    const std::string_view what = e.what();
    const size_t reason = what.find(": ");
    fail("{}: not valid JSON at byte {}: {}", where, e.byte > 0 ? e.byte - 1 : 0,
         shown(reason == what.npos ? what : what.substr(reason + 2), 200));
  } catch (const json::exception& e) {
    fail("{}: not valid JSON: {}", where, shown(e.what(), 200));
  }
}

json read_json(const std::string& path, uint64_t limit_bytes) { return parse_json(read_file(path, limit_bytes), path); }

}  // namespace dr
