#include "kernels/core/backends.h"

#include <string>

namespace dr {

std::vector<Backend> cpu_backends() {
  std::vector<Backend> list;
#ifdef DR_WITH_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    list.push_back(Backend::avx512);
#endif
#ifdef DR_WITH_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    list.push_back(Backend::avx2);
#endif
#ifdef DR_WITH_portable
  list.push_back(Backend::portable);
#endif
  CHECK(!list.empty(),
        "this processor runs none of the instruction sets that were built in (AVX2 with FMA is the least)");
  return list;
}

Backend cpu_backend(std::string_view name) {
  std::string accepted;
  for (Backend b : cpu_backends()) {
    if (name_of(b) == name) return b;
    accepted += (accepted.empty() ? "" : ", ") + std::string(name_of(b));
  }
  fail("instruction set '{}' is not available here; accepted: {}", name, accepted);
}

}  // namespace dr
