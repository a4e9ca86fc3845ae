#include "io/config.h"

#include <algorithm>
#include <cmath>

#include "io/file.h"
#include "io/nearest.h"
#include "io/text.h"
#include "kernels/core/check.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace dr {
namespace {

constexpr uint64_t kFileLimit = 64 << 10;  // bytes

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    default: return "a date or time";
  }
}

class Reader {
 public:
  Reader(const std::string& name, const std::vector<Setting>& settings) : name_(name), settings_(settings) {}

  void table(const toml::table& t, const std::string& prefix) {
    for (const auto& [key, node] : t) {
      const std::string full = prefix + std::string(key.str());
      const auto is_inside = [&](const Setting& s) { return s.name.starts_with(full + "."); };
      if (node.is_table() && std::any_of(settings_.begin(), settings_.end(), is_inside)) {
        table(*node.as_table(), full + ".");
        continue;
      }
      const auto setting =
          std::find_if(settings_.begin(), settings_.end(), [&](const Setting& s) { return s.name == full; });
      const int line = int(key.source().begin.line);
      if (setting == settings_.end()) unknown(full, line);
      if (setting->list && node.is_array())
        for (const toml::node& element : *node.as_array()) value(*setting, element, line);
      else value(*setting, node, line);
    }
  }
  std::vector<ConfigValue> values;

 private:
  [[noreturn]] void unknown(const std::string& key, int line) const {
    std::vector<std::string> names;
    for (const Setting& s : settings_) names.push_back(s.name);
    CHECK(!names.empty(), "{}:{}: unknown key '{}'; there is nothing to set here", name_, line, shown(key));
    fail("{}:{}: unknown key '{}'; the nearest valid one is '{}'", name_, line, shown(key),
         nearest(key.substr(0, 100), names));
  }

  void value(const Setting& s, const toml::node& node, int line) {
    const auto add = [&](std::string text) { values.push_back({s.name, std::move(text), line}); };
    if (s.kind == SettingKind::flag && node.is_boolean()) return add(**node.as_boolean() ? "true" : "false");
    if (s.kind == SettingKind::text && node.is_string()) return add(**node.as_string());
    const bool number = s.kind == SettingKind::number;
    if ((number || s.kind == SettingKind::integer) && node.is_integer())
      return add(std::to_string(**node.as_integer()));
    if (number && node.is_floating_point() && std::isfinite(**node.as_floating_point()))
      return add(format("{}", **node.as_floating_point()));
    fail("{}:{}: {} takes {}{}, got {}", name_, line, s.name, s.list ? "a list or " : "", name_of(s.kind),
         number && node.is_floating_point() ? "one that is not finite" : kind_of(node));
  }

  const std::string& name_;
  const std::vector<Setting>& settings_;
};

}  // namespace

std::string_view name_of(SettingKind kind) {
  switch (kind) {
    case SettingKind::flag: return "true or false";
    case SettingKind::integer: return "an integer";
    case SettingKind::number: return "a number";
    case SettingKind::text: return "a text";
  }
  return "?";
}

std::vector<ConfigValue> parse_config(std::string_view text, const std::string& name,
                                      const std::vector<Setting>& settings) {
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const toml::parse_error& e = result.error();
    fail("{}:{}: {}", name, e.source().begin.line, shown(e.description(), 200));
  }
  Reader reader(name, settings);
  reader.table(result.table(), "");
  std::stable_sort(reader.values.begin(), reader.values.end(),
                   [](const ConfigValue& a, const ConfigValue& b) { return a.line < b.line; });
  return reader.values;
}

std::vector<ConfigValue> read_config(const std::string& path, const std::vector<Setting>& settings) {
  return parse_config(read_file(path, kFileLimit), path, settings);
}

}  // namespace dr
