#pragma once
// A settings struct's fields, each listed once: name, place, help with the unit, range. The list makes the options of the
// command line (and so the keys of --config), the copy in a checkpoint and the log's header.
//
//   struct Settings { int64_t steps = 1000; double lr = 1e-3; };
//   const std::vector<Field<Settings>>& fields() {
//     static const std::vector<Field<Settings>> list = {{"steps", &Settings::steps, "optimiser steps", 1, 1e9}, ...};

#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

#include "train/options.h"

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

// A field of one object.
struct BoundField {
  std::string name;
  std::variant<int64_t*, double*, bool*, std::string*> at;
  std::string help;
  double low, high;
};

template <class S>
std::vector<BoundField> bind(S& s, const Fields<S>& fields) {
  std::vector<BoundField> bound;
  for (const Field<S>& f : fields)
    std::visit([&](auto at) { bound.push_back({f.name, &(s.*at), f.help, f.low, f.high}); }, f.at);
  return bound;
}

void add_options(Command& command, const std::vector<BoundField>& fields);
nlohmann::json to_json(const std::vector<BoundField>& fields);
void read_fields(const nlohmann::json& j, const std::vector<BoundField>& fields, const std::string& where);

// Adds an option for each field; `s` must outlive the parse.
template <class S>
void add_options(Command& command, S& s, const Fields<S>& fields) {
  add_options(command, bind(s, fields));
}

// Fields that the command line and --config left alone take the preset's value.
template <class S>
void fill_unset(const Command& command, S& s, const S& preset, const Fields<S>& fields) {
  for (const Field<S>& f : fields)
    if (!command.given("--" + f.name)) std::visit([&](auto at) { s.*at = preset.*at; }, f.at);
}

template <class S, class Json = nlohmann::json>  // complete where this is called
Json to_json(S s, const Fields<S>& fields) {
  return to_json(bind(s, fields));
}

// Every field must be there, with a value of its kind and range; `where` is for messages.
template <class S>
S from_json(const nlohmann::json& j, const Fields<S>& fields, const std::string& where) {
  S s;
  read_fields(j, bind(s, fields), where);
  return s;
}

}  // namespace dr
