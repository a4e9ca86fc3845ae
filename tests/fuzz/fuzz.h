#pragma once
// A fuzz target hands arbitrary bytes to a reader, which may refuse them with dr::Error and nothing else: no crash, no
// other exception, no sanitizer report, no allocation that the input's size does not justify.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/core/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace dr::fuzz {

template <class F>
void may_refuse(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    // The message is one line, and short enough to read.
    const std::string_view what = e.what();
    if (what.empty() || what.find('\n') != what.npos || what.size() > 2000) __builtin_trap();
  }
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace dr::fuzz
