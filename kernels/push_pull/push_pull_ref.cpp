#include <algorithm>
#include <cmath>

#include "kernels/push_pull/push_pull.h"

namespace dr {
namespace {

struct Level {
  int64_t h, w;
  std::vector<double> x, weight;
  Level(int64_t rows, int64_t cols) : h(rows), w(cols), x(size_t(h * w)), weight(size_t(h * w)) {}
};

// One channel of one image; returns it filled.
std::vector<double> fill(const Level& fine) {
  Level coarse((fine.h + 1) / 2, (fine.w + 1) / 2);
  for (int64_t i = 0; i < fine.h; i++)
    for (int64_t j = 0; j < fine.w; j++) {
      const size_t parent = size_t(i / 2 * coarse.w + j / 2), child = size_t(i * fine.w + j);
      coarse.x[parent] += fine.weight[child] == 0 ? 0 : fine.weight[child] * fine.x[child];
      coarse.weight[parent] += fine.weight[child];
    }
  for (size_t p = 0; p < coarse.x.size(); p++) {
    if (coarse.weight[p] > 0) coarse.x[p] /= coarse.weight[p];
    coarse.weight[p] = std::min(coarse.weight[p], 1.0);
  }
  const std::vector<double> below = coarse.h == 1 && coarse.w == 1 ? coarse.x : fill(coarse);
  std::vector<double> y(fine.x.size());
  for (int64_t i = 0; i < fine.h; i++)
    for (int64_t j = 0; j < fine.w; j++) {
      const double si = (double(i) + 0.5) / 2 - 0.5, sj = (double(j) + 0.5) / 2 - 0.5;
      const double di = si - std::floor(si), dj = sj - std::floor(sj);
      double up = 0;
      for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++) {
          const int64_t ci = std::clamp<int64_t>(int64_t(std::floor(si)) + a, 0, coarse.h - 1);
          const int64_t cj = std::clamp<int64_t>(int64_t(std::floor(sj)) + b, 0, coarse.w - 1);
          up += (a ? di : 1 - di) * (b ? dj : 1 - dj) * below[size_t(ci * coarse.w + cj)];
        }
      const size_t p = size_t(i * fine.w + j);
      y[p] = fine.weight[p] == 0 ? up : fine.weight[p] * fine.x[p] + (1 - fine.weight[p]) * up;
    }
  return y;
}

}  // namespace

void PushPull::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t h = in.image.size(1), w = in.image.size(2);
  const double levels = Levels(h, w).count;
  for (int64_t n = 0; n < in.image.size(0); n++)
    for (int64_t c = 0; c < in.image.size(3); c++) {
      Level image(h, w);
      double largest = 0;
      for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
          const size_t p = size_t(i * w + j);
          const double v = in.weight.dtype == DType::u8 ? double(in.weight.at<uint8_t>(n, i, j) != 0)
                                                        : in.weight.at<double>(n, i, j);
          image.weight[p] = v > 0 ? std::min(v, 1.0) : 0;
          image.x[p] = in.image.at<double>(n, i, j, c);
          if (image.weight[p] > 0) largest = std::max(largest, std::fabs(image.x[p]));
        }
      const std::vector<double> filled = fill(image);
      // Every value is an average of valid pixels, so errors are counted in the largest of them. In a level: four
      // steps of the running mean, each the ratio (a sum of three additions, the division) and the difference, times at
      // most twice the largest, and the fma; two lerps of up at 1.5; the blend 3. Weights carry three more roundings
      // from each level below, in a ratio twice and in a blend, times twice the largest.
      const double k = levels * (4 * (5 * 2 + 1) + 3 + 3) + levels * levels / 2 * 3 * 3 * 2;
      for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
          const size_t p = size_t(i * w + j);
          out.filled.at<double>(n, i, j, c) = filled[p];
          bound.filled.at<double>(n, i, j, c) = image.weight[p] == 1 ? 0 : k * largest * (1 + 0x1p-10);
        }
    }
}

}  // namespace dr
