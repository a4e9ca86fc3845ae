#include "io/sheet.h"

#include <algorithm>

#include "kernels/core/host_math.h"

namespace dr {

Image contact_sheet(std::span<const Image> images, int columns, int gap) {
  CHECK(!images.empty() && columns > 0 && gap >= 0, "a contact sheet needs images, at least one column and no negative gap");
  const int w = images[0].width, h = images[0].height, n = int(images.size());
  columns = std::min(columns, n);
  const int rows = (n + columns - 1) / columns;
  Image sheet{columns * (w + gap) - gap, rows * (h + gap) - gap, 3, {}};
  sheet.pixels.assign(size_t(sheet.width) * size_t(sheet.height) * 3, 255);
  for (int i = 0; i < n; i++) {
    const Image& image = images[size_t(i)];
    CHECK(image.width == w && image.height == h && image.channels == 3, "image {} of a contact sheet is {} x {}, the first {} x {}", i,
          image.width, image.height, w, h);
    const size_t left = size_t(i % columns * (w + gap)), top = size_t(i / columns * (h + gap));
    for (int y = 0; y < h; y++)
      std::copy_n(&image.pixels[size_t(y) * size_t(w) * 3], size_t(w) * 3,
                  &sheet.pixels[((top + size_t(y)) * size_t(sheet.width) + left) * 3]);
  }
  return sheet;
}

Image frame_image(const View& frames, int64_t i) {
  const View f = frames.slice(0, i, 1);
  const uint8_t* p = f.as<uint8_t>();
  return {int(f.size(2)), int(f.size(1)), 3, {p, p + f.size(1) * f.size(2) * 3}};
}

Image depth_image(const View& depth, int64_t i) {
  const View d = depth.slice(0, i, 1);
  const int64_t n = d.size(1) * d.size(2);
  Image image{int(d.size(2)), int(d.size(1)), 3, std::vector<uint8_t>(size_t(n) * 3)};
  const float* metres = d.as<float>();
  const float near = canonical::log(2), far = canonical::log(200);
  // From dark red over yellow and green to dark blue, in equal steps.
  constexpr std::array<std::array<float, 3>, 6> kColours{
      {{165, 0, 38}, {244, 109, 67}, {254, 224, 139}, {102, 194, 165}, {50, 136, 189}, {49, 54, 149}}};
  for (int64_t k = 0; k < n; k++) {
    if (!(metres[k] > 0)) continue;
    const float at = std::clamp((canonical::log(metres[k]) - near) / (far - near), 0.f, 1.f) * float(kColours.size() - 1);
    const size_t c = std::min(size_t(at), kColours.size() - 2);
    for (size_t j = 0; j < 3; j++)
      image.pixels[size_t(k) * 3 + j] = uint8_t(kColours[c][j] + (at - float(c)) * (kColours[c + 1][j] - kColours[c][j]) + 0.5f);
  }
  return image;
}

Image label_image(const View& labels, int64_t i, std::span<const std::array<uint8_t, 3>> palette) {
  const View l = labels.slice(0, i, 1);
  const int64_t n = l.size(1) * l.size(2);
  Image image{int(l.size(2)), int(l.size(1)), 3, std::vector<uint8_t>(size_t(n) * 3)};
  for (int64_t k = 0; k < n; k++)
    if (const uint8_t c = l.as<uint8_t>()[k]; c < palette.size())
      std::copy(palette[c].begin(), palette[c].end(), &image.pixels[size_t(k) * 3]);
  return image;
}

}  // namespace dr
