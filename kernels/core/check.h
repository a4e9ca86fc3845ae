#pragma once
// CHECK(cond, "adaln: scale has C={}, x has C={}", a, b) throws dr::Error with the values shown, in every build.
// dr::format is std::format for a standard library that has none: only check.cpp includes libfmt's implementation.

#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace dr {

// A bad call or bad input: one line that says what, where and what is accepted.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string vformat(fmt::string_view text, fmt::format_args args);
[[noreturn]] void vfail(fmt::string_view text, fmt::format_args args);

template <class... Args>
std::string format(fmt::format_string<Args...> text, Args&&... args) {
  return dr::vformat(text, fmt::make_format_args(args...));
}

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  dr::vfail(text, fmt::make_format_args(args...));
}

}  // namespace dr

#define CHECK(cond, ...)              \
  do {                                \
    if (!(cond)) [[unlikely]] {       \
      ::dr::fail(__VA_ARGS__);        \
    }                                 \
  } while (0)
