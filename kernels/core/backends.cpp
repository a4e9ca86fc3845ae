#include "kernels/core/backends.h"

#include <string>

namespace dr {

namespace {

bool runs_here(Backend b) {
#if defined(__x86_64__)
  if (b == Backend::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  if (b == Backend::avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#endif
  return b == Backend::portable;
}

}  // namespace

std::vector<Backend> cpu_backends() {
  std::vector<Backend> list;
  for (Backend b : built_backends())
    if (runs_here(b)) list.push_back(b);
  CHECK(!list.empty(),
        "this processor runs none of the instruction sets that were built in (AVX2 with FMA is the least; `make build` picks "
        "the best of the machine that it runs on)");
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
