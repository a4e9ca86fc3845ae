#pragma once
// Which CPU instruction sets this program was compiled for and this processor runs.

#include <vector>

#include "kernels/core/context.h"

namespace dr {

// What this program has, best first, whether or not this processor runs it. In kernels/dispatch.cpp.
std::vector<Backend> built_backends();

// Best first; never empty (throws dr::Error where the processor runs none of them). All give the same bits.
std::vector<Backend> cpu_backends();

// "avx512" -> Backend::avx512; throws dr::Error naming what is accepted here.
Backend cpu_backend(std::string_view name);

}  // namespace dr
