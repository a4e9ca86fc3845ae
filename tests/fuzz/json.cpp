#include "io/json.h"

#include <nlohmann/json.hpp>

#include "io/json_lines.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::may_refuse([&] {
    const nlohmann::json value = parse_json(text, "f");
    if (parse_json(value.dump(), "again") != value) __builtin_trap();
  });
  fuzz::may_refuse([&] { parse_json_lines(text, "f"); });
  return 0;
}
