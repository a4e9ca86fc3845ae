#include "io/safetensors.h"

#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::may_refuse([&] {
    const SafeTensors s(std::make_shared<MappedFile>("f", fuzz::text_of(data, size)));
    for (const StoredArray& a : s.arrays()) {
      if (s.find(a.name) != &a) __builtin_trap();
      fuzz::may_refuse([&] { a.view(); });
      fuzz::may_refuse([&] { a.values<float>(); });
      fuzz::may_refuse([&] { a.values<int64_t>(); });
    }
  });
  return 0;
}
