#pragma once
// A settings struct's fields, each listed once: name, place, help with the unit, range. The list makes the options of the
// command line (and so the keys of --config), the copy in a checkpoint and the log's header.
//
//   struct Settings { int64_t steps = 1000; double lr = 1e-3; };
//   const std::vector<Field<Settings>>& fields() {
//     static const std::vector<Field<Settings>> list = {{"steps", &Settings::steps, "optimiser steps", 1, 1e9}, ...};

#include <CLI/CLI.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "io/nearest.h"
#include "kernels/core/check.h"

namespace dr {

template <class S>
struct Field {
  std::string name;  // "weight-decay"
  std::variant<int64_t S::*, double S::*, bool S::*, std::string S::*> at;
  std::string help;
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};

template <class S>
using Fields = std::vector<Field<S>>;

// Adds an option for each field; `s` must outlive the parse.
template <class S>
void add_options(CLI::App& command, S& s, const Fields<S>& fields) {
  for (const Field<S>& f : fields)
    std::visit(
        [&](auto at) {
          using T = std::remove_reference_t<decltype(s.*at)>;
          if constexpr (std::is_same_v<T, bool>) {
            command.add_flag("--" + f.name + ",!--no-" + f.name, s.*at, f.help);
          } else {
            CLI::Option* o = command.add_option("--" + f.name, s.*at, f.help)->capture_default_str();
            if constexpr (std::is_same_v<T, int64_t>)
              o->check(CLI::Range(int64_t(std::max(f.low, -9e18)), int64_t(std::min(f.high, 9e18))));
            else if constexpr (std::is_same_v<T, double>)
              o->check(CLI::Range(std::max(f.low, -1e300), std::min(f.high, 1e300)));
          }
        },
        f.at);
}

// Fields that the command line and --config left alone take the preset's value.
template <class S>
void fill_unset(const CLI::App& command, S& s, const S& preset, const Fields<S>& fields) {
  for (const Field<S>& f : fields)
    if (command.get_option("--" + f.name)->count() == 0) std::visit([&](auto at) { s.*at = preset.*at; }, f.at);
}

template <class S>
nlohmann::json to_json(const S& s, const Fields<S>& fields) {
  nlohmann::json j = nlohmann::json::object();
  for (const Field<S>& f : fields) std::visit([&](auto at) { j[f.name] = s.*at; }, f.at);
  return j;
}

// Every field must be there, with a value of its kind and range; `where` is for messages.
template <class S>
S from_json(const nlohmann::json& j, const Fields<S>& fields, const std::string& where) {
  S s;
  CHECK(j.is_object(), "{}: the settings are no JSON object", where);
  for (const auto& [key, value] : j.items()) {
    std::vector<std::string> names;
    for (const Field<S>& f : fields) names.push_back(f.name);
    CHECK(std::find(names.begin(), names.end(), key) != names.end(), "{}: setting '{}' is unknown; the nearest is {}", where,
          key, nearest(key, names));
  }
  for (const Field<S>& f : fields) {
    CHECK(j.contains(f.name), "{}: setting '{}' is missing", where, f.name);
    const nlohmann::json& v = j.at(f.name);
    std::visit(
        [&](auto at) {
          using T = std::remove_reference_t<decltype(s.*at)>;
          const bool kind = std::is_same_v<T, bool>          ? v.is_boolean()
                            : std::is_same_v<T, std::string> ? v.is_string()
                            : std::is_same_v<T, int64_t>     ? v.is_number_integer()
                                                             : v.is_number();
          CHECK(kind, "{}: setting '{}' has the value {}, which is of the wrong kind", where, f.name, v.dump());
          s.*at = v.get<T>();
          if constexpr (std::is_arithmetic_v<T>)
            CHECK(!(double(s.*at) < f.low) && !(double(s.*at) > f.high), "{}: setting '{}' is {}; accepted: {} to {}", where,
                  f.name, v.dump(), f.low, f.high);
        },
        f.at);
  }
  return s;
}

}  // namespace dr
