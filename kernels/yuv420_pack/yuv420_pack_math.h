#pragma once
// A block of 2 x 2 pixels and its six channels, one at a time on every device. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

inline constexpr float kLuma = float(16 / 127.5 - 17.0 / 128), kGrey = float(1.0 / 255);

// One block: pixels in the order of the luma channels.
DR_INLINE void pack_block(const uint8_t* const (&pixel)[4], uint8_t* y) {
  int sum[3] = {1, 1, 1};
  for (int p = 0; p < 4; p++) {
    const int r = pixel[p][0], g = pixel[p][1], b = pixel[p][2];
    y[p] = uint8_t(((33 * r + 65 * g + 13 * b + 64) >> 7) + 16);
    sum[0] += r, sum[1] += g, sum[2] += b;
  }
  const int r = sum[0] >> 1, g = sum[1] >> 1, b = sum[2] >> 1;
  y[4] = uint8_t((56 * b - 37 * g - 19 * r + 0x8080) >> 8);
  y[5] = uint8_t((56 * r - 47 * g - 9 * b + 0x8080) >> 8);
}
template <class T>
DR_INLINE void pack_block(const T* const (&pixel)[4], T* y) {
  float v[4][3], sum[3];
  for (int p = 0; p < 4; p++)
    for (int c = 0; c < 3; c++) v[p][c] = load1(pixel[p] + c);
  for (int c = 0; c < 3; c++) sum[c] = (v[0][c] + v[2][c]) + (v[1][c] + v[3][c]);
  for (int p = 0; p < 4; p++)
    store1(y + p, fma(33.f / 128, v[p][0], fma(65.f / 128, v[p][1], fma(13.f / 128, v[p][2], kLuma))));
  store1(y + 4, fma(112.f / 1024, sum[2] - sum[1], fma(38.f / 1024, sum[1] - sum[0], kGrey)));
  store1(y + 5, fma(112.f / 1024, sum[0] - sum[1], fma(18.f / 1024, sum[1] - sum[2], kGrey)));
}

template <class T>
DR_INLINE void unpack_gradient(const T* dy, T* const (&dpixel)[4]) {
  const float du = load1(dy + 4), dv = load1(dy + 5);
  const float r = fma(112.f / 1024, dv, -38.f / 1024 * du), g = fma(-94.f / 1024, dv, -74.f / 1024 * du),
              b = fma(-18.f / 1024, dv, 112.f / 1024 * du);
  for (int p = 0; p < 4; p++) {
    const float d = load1(dy + p);
    store1(dpixel[p], fma(33.f / 128, d, r));
    store1(dpixel[p] + 1, fma(65.f / 128, d, g));
    store1(dpixel[p] + 2, fma(13.f / 128, d, b));
  }
}

}  // namespace dr::DR_ISA
