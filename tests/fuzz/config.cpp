#include "io/config.h"

#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Setting> settings = {{"steps", SettingKind::integer},
                                                {"lr", SettingKind::number, true},
                                                {"quiet", SettingKind::flag},
                                                {"loss.alpha", SettingKind::number},
                                                {"loss.kind", SettingKind::text}};
  fuzz::may_refuse([&] { parse_config(fuzz::text_of(data, size), "f", settings); });
  return 0;
}
