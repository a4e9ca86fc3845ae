#pragma once
// Pictures made of pictures: contact sheets, and depth and labels in colour.

#include <array>
#include <span>

#include "io/image.h"
#include "kernels/core/view.h"

namespace dr {

// RGB images of one size in rows of `columns`, `gap` pixels of white apart.
Image contact_sheet(std::span<const Image> images, int columns, int gap = 4);

// Frame i of a (T,H,W,3) u8 array.
Image frame_image(const View& frames, int64_t i);
// Frame i of a (T,H,W) f32 array in metres: near is warm, far is cool on a logarithmic scale from 2 to 200 m, none is black.
Image depth_image(const View& depth, int64_t i);
// Frame i of a (T,H,W) u8 array; classes without a colour are black.
Image label_image(const View& labels, int64_t i, std::span<const std::array<uint8_t, 3>> palette);

}  // namespace dr
