#include "train/fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/nearest.h"
#include "kernels/core/check.h"

namespace dr {

void add_options(Command& command, const std::vector<BoundField>& fields) {
  for (const BoundField& f : fields)
    std::visit(
        [&](auto at) {
          using T = std::remove_pointer_t<decltype(at)>;
          if constexpr (std::is_same_v<T, bool>) {
            command.add_flag("--" + f.name + ",!--no-" + f.name, *at, f.help);
          } else {
            Command::Option o = command.add_option("--" + f.name, *at, f.help).show_default();
            if constexpr (std::is_same_v<T, int64_t>)
              o.range(int64_t(std::max(f.low, -9e18)), int64_t(std::min(f.high, 9e18)));
            else if constexpr (std::is_same_v<T, double>)
              o.range(std::max(f.low, -1e300), std::min(f.high, 1e300));
          }
        },
        f.at);
}

nlohmann::json to_json(const std::vector<BoundField>& fields) {
  nlohmann::json j = nlohmann::json::object();
  for (const BoundField& f : fields) std::visit([&](auto at) { j[f.name] = *at; }, f.at);
  return j;
}

void read_fields(const nlohmann::json& j, const std::vector<BoundField>& fields, const std::string& where) {
  CHECK(j.is_object(), "{}: the settings are no JSON object", where);
  for (const auto& [key, value] : j.items()) {
    std::vector<std::string> names;
    for (const BoundField& f : fields) names.push_back(f.name);
    CHECK(std::find(names.begin(), names.end(), key) != names.end(), "{}: setting '{}' is unknown; the nearest is {}", where,
          key, nearest(key, names));
  }
  for (const BoundField& f : fields) {
    CHECK(j.contains(f.name), "{}: setting '{}' is missing", where, f.name);
    const nlohmann::json& v = j.at(f.name);
    std::visit(
        [&](auto at) {
          using T = std::remove_pointer_t<decltype(at)>;
          const bool kind = std::is_same_v<T, bool>          ? v.is_boolean()
                            : std::is_same_v<T, std::string> ? v.is_string()
                            : std::is_same_v<T, int64_t>     ? v.is_number_integer()
                                                             : v.is_number();
          CHECK(kind, "{}: setting '{}' has the value {}, which is of the wrong kind", where, f.name, v.dump());
          *at = v.get<T>();
          if constexpr (std::is_arithmetic_v<T>)
            CHECK(!(double(*at) < f.low) && !(double(*at) > f.high), "{}: setting '{}' is {}; accepted: {} to {}", where,
                  f.name, v.dump(), f.low, f.high);
        },
        f.at);
  }
}

}  // namespace dr
