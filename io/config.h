#pragma once
// TOML configuration files, checked against the settings that a command has.

#include <string>
#include <string_view>
#include <vector>

namespace dr {

enum class SettingKind : uint8_t { flag, integer, number, text };
std::string_view name_of(SettingKind kind);  // with its article: "an integer"

struct Setting {
  std::string name;  // "threads", "loss.alpha"
  SettingKind kind = SettingKind::text;
  bool list = false;  // takes several values
};

// One value as a command line would hold it: "true", "12", "0.1", "text".
struct ConfigValue {
  std::string key, text;
  int line = 0;
};

// In the order of the file; a list gives one entry per element. A table's keys are joined by dots. Throws
// "FILE:LINE: ..." for bad TOML, a key that no setting has (naming the nearest) and a value of another kind.
std::vector<ConfigValue> read_config(const std::string& path, const std::vector<Setting>& settings);
std::vector<ConfigValue> parse_config(std::string_view toml, const std::string& name,
                                      const std::vector<Setting>& settings);

}  // namespace dr
