// Geometric sampling by the letter of its contracts, written out as loops over std::fma; and an inverse warp against
// its parts in turn: equal bits, on every instruction set, for any number of threads.

#include <cmath>
#include <cstring>

#include "kernels/deformable_attention/deformable_attention.h"
#include "kernels/depth_warp/depth_warp.h"
#include "kernels/grid_sample/grid_sample.h"
#include "kernels/inverse_warp/inverse_warp.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

// Uniform in [low, high), or zero where no seed is given.
struct Tensor {
  std::vector<float> data;
  View view;
  explicit Tensor(Sizes sizes, uint32_t seed = 0, float low = -1, float high = 1)
      : data(size_t(sizes.count())), view(data.data(), DType::f32, sizes) {
    for (float& v : data) {
      seed = seed * 1664525u + 1013904223u * (seed != 0);
      v = seed ? low + (high - low) * (float(seed >> 8) * 0x1p-24f) : 0.f;
    }
  }
  Tensor(Sizes sizes, const std::vector<float>& list)
      : data(size_t(sizes.count())), view(data.data(), DType::f32, sizes) {
    for (size_t i = 0; i < data.size(); i++) data[i] = list[i % list.size()];
  }
  Tensor(const Tensor&) = delete;
};

void expect_same_bits(const Tensor& a, const Tensor& b, const char* what) {
  ASSERT_EQ(a.data.size(), b.data.size());
  float largest = 0;
  for (size_t i = 0; i < a.data.size(); i++) {
    ASSERT_EQ(std::bit_cast<uint32_t>(a.data[i]), std::bit_cast<uint32_t>(b.data[i]))
        << what << " at " << i << ": " << a.data[i] << ", " << b.data[i];
    largest = std::max(largest, std::fabs(a.data[i]));
  }
  EXPECT_GT(largest, 0) << what << " is zero: nothing is proven";
}

class Geometry : public testing::TestWithParam<std::tuple<Backend, int>> {
 protected:
  Geometry() : pool_(std::get<1>(GetParam())) {}

  template <class O>
  void forward(const O& op, const typename O::In& in, const typename O::Out& out) {
    Context ctx = context(op.scratch_bytes(in, pool_.size()));
    run_forward(ctx, op, in, out);
  }
  template <class O>
  void backward(const O& op, const typename O::In& in, const typename O::Out& out, const typename O::OutGrad& dy,
                const typename O::Grad& grad) {
    Context ctx = context(op.scratch_bytes(in, pool_.size()));
    run_backward(ctx, op, in, out, dy, grad);
  }

 private:
  Context context(size_t scratch) {
    scratch_.assign(scratch + 64, std::byte{0x3c});
    Context ctx;
    ctx.backend = std::get<0>(GetParam());
    ctx.pool = &pool_;
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(scratch_.data()) % 64) % 64;
    ctx.scratch = {scratch_.data() + skip, scratch};
    return ctx;
  }
  ThreadPool pool_;
  std::vector<std::byte> scratch_;
};

const std::vector<float> kCamera{21, 22, 13.2f, 8.4f, 19, 20, 12.9f, 9.1f};
const std::vector<float> kPose{0.998f, -0.04f, 0.05f, 0.3f, 0.04f, 0.999f, -0.02f, -0.2f, -0.05f, 0.02f, 0.998f, -0.4f};

TEST_P(Geometry, InverseWarpIsProjectDepthThenGridSample) {
  const int64_t n = 2, hi = 19, wi = 23, h = 17, w = 29;
  for (int64_t c : {1, 3, 37})
    for (Padding padding : {Padding::zeros, Padding::border}) {
      Tensor image({n, hi, wi, c}, 1), depth({n, h, w}, 2, -1, 9), camera({n, 4}, kCamera), to_camera({n, 4}, kCamera),
          pose({n, 3, 4}, kPose), dy({n, h, w, c}, 3);
      Tensor y({n, h, w, c}), mask({n, h, w}), dimage({n, hi, wi, c}), ddepth({n, h, w}), dpose({n, 3, 4});
      const InverseWarp::In in{image.view, depth.view, camera.view, to_camera.view, pose.view};
      forward(InverseWarp{padding}, in, {y.view, mask.view});
      backward(InverseWarp{padding}, in, {y.view, mask.view}, {dy.view}, {dimage.view, ddepth.view, dpose.view});

      Tensor grid({n, h, w, 2}), z({n, h, w}), y2({n, h, w, c}), dgrid({n, h, w, 2}), dimage2({n, hi, wi, c}),
          ddepth2({n, h, w}), dpose2({n, 3, 4});
      const ProjectDepth::In project{depth.view, camera.view, to_camera.view, pose.view};
      const GridSample sample{.padding = padding};
      forward(ProjectDepth{}, project, {grid.view, z.view});
      forward(sample, {image.view, grid.view}, {y2.view});
      backward(sample, {image.view, grid.view}, {y2.view}, {dy.view}, {dimage2.view, dgrid.view});
      backward(ProjectDepth{}, project, {grid.view, z.view}, {dgrid.view, View()}, {ddepth2.view, dpose2.view});
      expect_same_bits(y, y2, "y");
      expect_same_bits(dimage, dimage2, "dimage");
      expect_same_bits(ddepth, ddepth2, "ddepth");
      expect_same_bits(dpose, dpose2, "dpose");
    }
}

// One sample by the letter of grid_sample's contract: its pixels and weights; none where it is outside.
struct Corner {
  int64_t row, column;
  float weight;
};
std::vector<Corner> corners(float x, float y, int64_t height, int64_t width, Padding padding) {
  if (!std::isfinite(x) || !std::isfinite(y)) return {};
  if (padding == Padding::border) {
    x = std::min(std::max(x, 0.f), float(width - 1));
    y = std::min(std::max(y, 0.f), float(height - 1));
  }
  if (x <= -1 || x >= float(width) || y <= -1 || y >= float(height)) return {};
  const float x0 = std::floor(x), y0 = std::floor(y), fx = x - x0, fy = y - y0;
  std::vector<Corner> list;
  for (int k = 0; k < 4; k++) {
    const int64_t i = int64_t(x0) + k % 2, j = int64_t(y0) + k / 2;
    const int64_t column = std::clamp<int64_t>(i, 0, width - 1), row = std::clamp<int64_t>(j, 0, height - 1);
    const float wx = k % 2 ? fx : 1 - fx, wy = k / 2 ? fy : 1 - fy;
    list.push_back({row, column, i == column && j == row ? wy * wx : 0.f});
  }
  return list;
}

// More samples than pixels, so that chains are long; one image, so that its rows are shared out among the threads.
TEST_P(Geometry, GridSampleIsItsDefinition) {
  const int64_t h = 13, w = 11, oh = 40, ow = 31;
  for (int64_t c : {1, 2, 3, 4, 5, 37})
    for (Padding padding : {Padding::zeros, Padding::border}) {
      Tensor x({1, h, w, c}, 1), grid({1, oh, ow, 2}, 2, -3, 15), dy({1, oh, ow, c}, 3);
      grid.data[10] = NAN, grid.data[21] = INFINITY, grid.data[30] = -INFINITY, grid.data[40] = 1e30f;
      for (int i = 60; i < 80; i++) grid.data[size_t(i)] = std::round(grid.data[size_t(i)]);
      Tensor y({1, oh, ow, c}), dx({1, h, w, c}), dgrid({1, oh, ow, 2}), y2({1, oh, ow, c}), dx2({1, h, w, c});
      const GridSample op{.padding = padding};
      forward(op, {x.view, grid.view}, {y.view});
      backward(op, {x.view, grid.view}, {y.view}, {dy.view}, {dx.view, dgrid.view});
      for (int64_t s = 0; s < oh * ow; s++) {
        const auto list = corners(grid.data[size_t(2 * s)], grid.data[size_t(2 * s + 1)], h, w, padding);
        for (int64_t k = 0; k < c; k++)
          for (size_t i = 0; i < list.size(); i++) {
            const size_t pixel = size_t((list[i].row * w + list[i].column) * c + k), out = size_t(s * c + k);
            const float weight = list[i].weight;
            y2.data[out] = i == 0 ? weight * x.data[pixel] : std::fma(weight, x.data[pixel], y2.data[out]);
            dx2.data[pixel] = std::fma(weight, dy.data[out], dx2.data[pixel]);
          }
      }
      expect_same_bits(y, y2, "y");
      expect_same_bits(dx, dx2, "dx");
    }
}

TEST_P(Geometry, GridSampleTakesTheGridsOfPyTorch) {
  Tensor x({1, 2, 2, 1}, {1, 2, 3, 4}), grid({1, 1, 3, 2}, {0, 0, -1, -1, 1, 0}), y({1, 1, 3, 1});
  using enum GridSample::Coordinates;
  auto expect = [&](GridSample op, std::vector<float> values) {
    forward(op, {x.view, grid.view}, {y.view});
    EXPECT_EQ(y.data, values);
  };
  expect({normalised_corners, Padding::zeros}, {2.5f, 1, 3});
  expect({normalised, Padding::zeros}, {2.5f, 0.25f, 1.5f});  // half, a quarter of the sample is outside
  expect({normalised, Padding::border}, {2.5f, 1, 3});
  expect({pixels, Padding::zeros}, {1, 0, 2});
}

TEST_P(Geometry, DeformableAttentionSumsGridSamples) {
  const int64_t n = 2, q = 21, heads = 3, d = 19, l = 2, p = 3;
  const DeformableAttention op{.levels = {{{5, 7}, {2, 3}}}};
  Tensor value({n, 41, heads, d}, 1), locations({n, q, heads, l, p, 2}, 2, -0.2f, 1.2f),
      weights({n, q, heads, l, p}, 3), y({n, q, heads * d}), y2({n, q, heads * d});
  forward(op, {value.view, locations.view, weights.view}, {y.view});
  for (int64_t head = 0; head < heads; head++)
    for (int64_t level = 0; level < l; level++) {
      const auto [height, width] = op.levels[size_t(level)];
      Tensor map({n, height, width, d}), grid({n, q, p, 2}), sample({n, q, p, d});
      for (int64_t i = 0; i < n; i++)
        for (int64_t pixel = 0; pixel < height * width; pixel++)
          std::memcpy(&map.data[size_t((i * height * width + pixel) * d)],
                      &value.view.at<float>(i, (level ? 35 : 0) + pixel, head, 0), size_t(d) * sizeof(float));
      auto at = [&](int64_t i, int64_t j, int64_t k, int64_t axis) {
        return locations.view.at<float>(i, j, head, level, k, axis);
      };
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < q; j++)
          for (int64_t k = 0; k < p; k++) {
            grid.view.at<float>(i, j, k, 0) = std::fma(at(i, j, k, 0), float(width), -0.5f);
            grid.view.at<float>(i, j, k, 1) = std::fma(at(i, j, k, 1), float(height), -0.5f);
          }
      forward(GridSample{}, {map.view, grid.view}, {sample.view});
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < q; j++)
          for (int64_t k = 0; k < p; k++)
            for (int64_t c = 0; c < d; c++) {
              float& sum = y2.view.at<float>(i, j, head * d + c);
              sum = std::fma(weights.view.at<float>(i, j, head, level, k), sample.view.at<float>(i, j, k, c), sum);
            }
    }
  expect_same_bits(y, y2, "y");
}

// A plane seen from further away, so that many pixels meet at the same depth: the first of them wins. Then a rough
// surface.
TEST_P(Geometry, DepthWarpIsItsDefinition) {
  const int64_t h = 37, w = 53, oh = 23, ow = 31, c = 3;
  for (bool plane : {true, false}) {
    Tensor image({1, h, w, c}, 1), depth({1, h, w}, 2, -1, 9), camera({1, 4}, kCamera), dz({1, oh, ow}, 4),
        dy({1, oh, ow, c}, 5);
    Tensor pose({1, 3, 4}, plane ? std::vector<float>{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3} : kPose);
    if (plane) std::fill(depth.data.begin(), depth.data.end(), 2.5f);
    depth.data[0] = NAN, depth.data[1] = INFINITY;
    Tensor y({1, oh, ow, c}), mask({1, oh, ow}), z({1, oh, ow}), dimage({1, h, w, c}), ddepth({1, h, w}),
        dpose({1, 3, 4});
    std::vector<int32_t> source(size_t(oh * ow));
    const DepthWarp op{oh, ow};
    const DepthWarp::In in{image.view, depth.view, camera.view, camera.view, pose.view};
    const DepthWarp::Out out{y.view, mask.view, z.view, View(source.data(), DType::i32, {1, oh, ow})};
    forward(op, in, out);
    backward(op, in, out, {dy.view, dz.view}, {dimage.view, ddepth.view, dpose.view});

    Tensor y2({1, oh, ow, c}), mask2({1, oh, ow}), z2({1, oh, ow}), dimage2({1, h, w, c}), ddepth2({1, h, w});
    std::vector<int32_t> source2(source.size(), -1);
    const float *k = camera.data.data(), *r = pose.data.data();
    std::vector<float> turned(size_t(h * w));
    int ties = 0;
    for (int64_t v = 0; v < h; v++)
      for (int64_t u = 0; u < w; u++) {
        const float d = depth.data[size_t(v * w + u)], rx = (float(u) - k[2]) / k[0], ry = (float(v) - k[3]) / k[1];
        if (!(d > 0 && std::isfinite(d))) continue;
        float q[3], p[3];
        for (int i = 0; i < 3; i++) {
          q[i] = std::fma(r[4 * i], rx, std::fma(r[4 * i + 1], ry, r[4 * i + 2]));
          p[i] = std::fma(d, q[i], r[4 * i + 3]);
        }
        turned[size_t(v * w + u)] = q[2];
        const float inverse = 1 / p[2], x = std::fma(k[0], p[0] * inverse, k[2]) + 0.5f,
                    e = std::fma(k[1], p[1] * inverse, k[3]) + 0.5f;
        if (!(p[2] > 0) || !(x >= 0 && x < float(ow) && e >= 0 && e < float(oh))) continue;
        const size_t t = size_t(int64_t(std::floor(e)) * ow + int64_t(std::floor(x)));
        ties += source2[t] >= 0 && z2.data[t] == p[2];
        if (source2[t] < 0 || p[2] < z2.data[t]) z2.data[t] = p[2], source2[t] = int32_t(v * w + u);
      }
    for (size_t t = 0; t < source2.size(); t++) {
      if (source2[t] < 0) continue;
      const size_t s = size_t(source2[t]);
      mask2.data[t] = 1;
      ddepth2.data[s] = dz.data[t] * turned[s];
      for (size_t i = 0; i < size_t(c); i++) {
        y2.data[t * size_t(c) + i] = image.data[s * size_t(c) + i];
        dimage2.data[s * size_t(c) + i] = dy.data[t * size_t(c) + i];
      }
    }
    EXPECT_EQ(source, source2);
    EXPECT_EQ(plane, ties > 100) << ties;
    expect_same_bits(y, y2, "y");
    expect_same_bits(mask, mask2, "mask");
    expect_same_bits(z, z2, "z");
    expect_same_bits(dimage, dimage2, "dimage");
    expect_same_bits(ddepth, ddepth2, "ddepth");
    double sum = 0;  // of dz, over what landed
    for (size_t t = 0; t < source2.size(); t++) sum += source2[t] >= 0 ? double(dz.data[t]) : 0;
    EXPECT_NEAR(dpose.data[11], sum, 1e-4);
    for (int i = 0; i < 8; i++) EXPECT_EQ(dpose.data[size_t(i)], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Geometry,
                         testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 2, 3, 7)),
                         test::backend_and_threads);

}  // namespace
}  // namespace dr
