#include "io/npy.h"

#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::may_refuse([&] {
    const StoredArray a = parse_npy(std::make_shared<MappedFile>("f", fuzz::text_of(data, size)));
    fuzz::may_refuse([&] { a.view(); });
    fuzz::may_refuse([&] { a.values<float>(); });
    fuzz::may_refuse([&] { a.values<double>(); });
    fuzz::may_refuse([&] { a.values<int32_t>(); });
  });
  return 0;
}
