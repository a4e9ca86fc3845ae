#pragma once
// What io/image.cpp uses of stb; io/stb.cpp compiles it.

#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 16384
#include <stb/stb_image.h>
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

#include <cstddef>

namespace dr {

// The most bytes that the decoder may ask for at once. It is set from the image's header, so that a small file which
// inflates without end stops there.
extern thread_local size_t stb_allocation_limit;

}  // namespace dr

// Of the writer, but left out of its list of functions.
extern "C" unsigned char* stbi_write_png_to_mem(const unsigned char* pixels, int stride_bytes, int x, int y, int n,
                                                int* out_len);
