// stb's decoders and encoders. The Makefile compiles this file so that arithmetic wraps: the decoder of JPEG overflows
// sums and shifts zeros too far when data is damaged. Its memory is watched all the same.

#include "io/stb.h"

#include <cstdlib>

namespace dr {

thread_local size_t stb_allocation_limit = 0;

namespace {

// Zeroed, so that pixels which a damaged file leaves out do not show what was in memory.
void* limited_malloc(size_t bytes) { return bytes <= stb_allocation_limit ? std::calloc(1, bytes) : nullptr; }
void* limited_realloc(void* p, size_t bytes) {
  return bytes <= stb_allocation_limit ? std::realloc(p, bytes) : nullptr;
}

}  // namespace

}  // namespace dr

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STBI_MALLOC(n) dr::limited_malloc(n)
#define STBI_REALLOC(p, n) dr::limited_realloc(p, n)
#define STBI_FREE(p) std::free(p)
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
