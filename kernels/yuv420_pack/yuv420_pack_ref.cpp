#include <cmath>

#include "kernels/yuv420_pack/yuv420_pack.h"

namespace dr {

void Yuv420Pack::reference(const In& in, const Out& out, const Out& bound) const {
  const bool bytes = in.x.dtype == DType::u8;
  // Rows Y, U, V of the matrix from R, G, B, in units of 1/256 of a byte's step.
  constexpr double matrix[3][3] = {{66, 130, 26}, {-38, -74, 112}, {112, -94, -18}}, base[3] = {16, 128, 128};
  auto colour = [&](int64_t n, int64_t h, int64_t w, int c) {
    return bytes ? double(in.x.at<uint8_t>(n, h, w, c)) : in.x.at<double>(n, h, w, c);
  };
  for (int64_t n = 0; n < in.x.size(0); n++)
    for (int64_t h = 0; h < in.x.size(1) / 2; h++)
      for (int64_t w = 0; w < in.x.size(2) / 2; w++)
        for (int k = 0; k < 6; k++) {
          const int row = k < 4 ? 0 : k - 3;
          double value = 0, terms = 0;
          for (int c = 0; c < 3; c++) {
            double mean = 0, magnitude = 0;
            for (int p = 0; p < 4; p++) {
              const double v = colour(n, 2 * h + p % 2, 2 * w + p / 2, c);
              if (k < 4 && p != k) continue;
              mean += k < 4 ? v : v / 4, magnitude += k < 4 ? std::fabs(v) : std::fabs(v) / 4;
            }
            if (bytes && k >= 4) mean = std::floor(2 * mean + 0.5) / 2;  // the mean is kept to half a step
            value += matrix[row][c] * mean / 256, terms += std::fabs(matrix[row][c]) * magnitude / 256;
          }
          if (bytes) {
            out.y.at<uint8_t>(n, h, w, k) = uint8_t(std::floor(value + 0.5) + base[row]);
            continue;
          }
          // A byte b is b / 127.5 - 1: the matrix acts on b = 127.5 (v + 1).
          const double sum = matrix[row][0] + matrix[row][1] + matrix[row][2];
          const double constant = (base[row] + 127.5 * sum / 256) / 127.5 - 1;
          out.y.at<double>(n, h, w, k) = value + constant;
          // Luma: the constant and three fma. Chroma: the constant, two additions of the sum, the difference, two fma;
          // the differences split G's coefficient (74 = 112 - 38), which at most triples its term.
          bound.y.at<double>(n, h, w, k) =
              (k < 4 ? 4 * (terms + std::fabs(constant)) : 5 * (3 * terms + std::fabs(constant))) * (1 + 0x1p-20);
        }
}

}  // namespace dr
