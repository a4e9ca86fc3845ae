// Properties of the image ops that no single case shows: what must be exact is compared bit for bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/float_to_image/float_to_image.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/max_pool2d/max_pool2d.h"
#include "kernels/push_pull/push_pull.h"
#include "kernels/relu/relu.h"
#include "kernels/resize2d/resize2d.h"
#include "kernels/ssim/ssim.h"
#include "kernels/yuv420_pack/yuv420_pack.h"

namespace dr {
namespace {

template <class T>
struct Tensor {
  std::vector<T> data;
  View view;
  explicit Tensor(const Sizes& sizes, T value = {})
      : data(size_t(sizes.count()), value), view(data.data(), dtype_of<T>, sizes) {}
};

Tensor<float> random_image(const Sizes& sizes, uint32_t seed) {
  Tensor<float> t(sizes);
  for (float& v : t.data) {
    seed = seed * 1664525u + 1013904223u;
    v = float(seed >> 8) * 0x1p-23f - 1.f;
  }
  return t;
}

Tensor<uint8_t> random_bytes(const Sizes& sizes, uint32_t seed) {
  Tensor<uint8_t> t(sizes);
  for (uint8_t& v : t.data) {
    seed = seed * 1664525u + 1013904223u;
    v = uint8_t(seed >> 24);
  }
  return t;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); i++)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i] << ", " << b[i];
}

class ImageOps : public testing::TestWithParam<Backend> {
 protected:
  ImageOps() : pool_(2) {
    ctx_.backend = GetParam();
    ctx_.pool = &pool_;
  }
  template <class O>
  void forward(const O& op, const typename O::In& in, const typename O::Out& out) {
    scratch_.resize(op.scratch_bytes(in, pool_.size()) + 64);
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(scratch_.data()) % 64) % 64;
    ctx_.scratch = {scratch_.data() + skip, scratch_.size() - 64};
    run_forward(ctx_, op, in, out);
  }
  ThreadPool pool_;
  std::vector<std::byte> scratch_;
  Context ctx_;
};

TEST_P(ImageOps, ResizeToTheSameSizeKeepsTheBits) {
  Tensor<float> x = random_image({2, 5, 7, 3}, 1), y({2, 5, 7, 3});
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  size_t i = 0;
  for (float v : {-0.f, 0.f, inf, -inf, nan, 1e-45f, 3e38f, -3e38f}) x.data[7 * i++] = v;
  for (Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
    forward(Resize2d{5, 7, how}, {x.view}, {y.view});
    expect_same_bits(x.data, y.data, name_of(how).data());
  }
}

TEST_P(ImageOps, NearestRepeatsPixelsForWholeFactors) {
  const Tensor<float> x = random_image({2, 3, 5, 20}, 2);
  for (int64_t factor : {2, 3, 4}) {
    Tensor<float> y({2, 3 * factor, 5 * factor, 20});
    forward(Resize2d{3 * factor, 5 * factor}, {x.view}, {y.view});
    for (int64_t n = 0; n < 2; n++)
      for (int64_t i = 0; i < 3 * factor; i++)
        for (int64_t j = 0; j < 5 * factor; j++)
          for (int64_t c = 0; c < 20; c++)
            ASSERT_EQ(y.view.at<float>(n, i, j, c), x.view.at<float>(n, i / factor, j / factor, c));
  }
}

TEST_P(ImageOps, BilinearKeepsAConstant) {
  for (float value : {0.3f, -1e-40f, 1.7e38f})
    for (auto [h, w] : {std::pair<int64_t, int64_t>{11, 13}, {1, 40}, {4, 2}, {33, 31}}) {
      const Tensor<float> x({1, 7, 5, 3}, value);
      Tensor<float> y({1, h, w, 3});
      forward(Resize2d{h, w, Interpolation::bilinear}, {x.view}, {y.view});
      expect_same_bits(y.data, std::vector<float>(y.data.size(), value), "y");
    }
}

TEST_P(ImageOps, BilinearOfARampIsTheRampBetweenBorders) {
  Tensor<float> x({1, 4, 8, 1}), y({1, 8, 24, 1});
  for (int64_t i = 0; i < 4; i++)
    for (int64_t j = 0; j < 8; j++) x.view.at<float>(0, i, j, 0) = float(10 * i + j);
  forward(Resize2d{8, 24, Interpolation::bilinear}, {x.view}, {y.view});
  for (int64_t i = 0; i < 8; i++)
    for (int64_t j = 0; j < 24; j++) {
      const double row = std::clamp((double(i) + 0.5) / 2 - 0.5, 0.0, 3.0);
      const double col = std::clamp((double(j) + 0.5) / 3 - 0.5, 0.0, 7.0);
      ASSERT_NEAR(y.view.at<float>(0, i, j, 0), 10 * row + col, 1e-5) << i << ", " << j;
    }
}

TEST_P(ImageOps, SsimOfAnImageWithItselfIsOne) {
  for (float scale : {1.f, 0.001f, 100.f}) {
    Tensor<float> x = random_image({3, 29, 40, 3}, 3), value({3});
    for (float& v : x.data) v = v * scale + scale;
    forward(Ssim{}, {x.view, x.view}, {value.view});
    expect_same_bits(value.data, {1, 1, 1}, "value");
  }
}

TEST_P(ImageOps, SsimFallsWithNoiseAndIsSymmetric) {
  const Tensor<float> x = random_image({1, 24, 31, 3}, 4), noise = random_image({1, 24, 31, 3}, 5);
  float before = 1;
  for (float level : {0.05f, 0.2f, 0.5f, 2.f}) {
    Tensor<float> y({1, 24, 31, 3}), value({1}), swapped({1});
    for (size_t i = 0; i < y.data.size(); i++) y.data[i] = x.data[i] + level * noise.data[i];
    forward(Ssim{}, {x.view, y.view}, {value.view});
    forward(Ssim{}, {y.view, x.view}, {swapped.view});
    EXPECT_LT(value.data[0], before - 0.001f);
    expect_same_bits(value.data, swapped.data, "swapped");
    before = value.data[0];
  }
}

TEST_P(ImageOps, SsimTakesACropInPlace) {
  const Tensor<float> x = random_image({2, 20, 24, 3}, 6), y = random_image({2, 20, 24, 3}, 7);
  Tensor<float> x_crop({2, 13, 15, 3}), y_crop({2, 13, 15, 3}), value({2}), expected({2});
  auto crop = [](const View& v) { return v.slice(1, 4, 13).slice(2, 5, 15); };
  for (auto [from, to] : {std::pair{&x, &x_crop}, {&y, &y_crop}})
    for (int64_t n = 0; n < 2; n++)
      for (int64_t i = 0; i < 13; i++)
        for (int64_t j = 0; j < 15; j++)
          for (int64_t c = 0; c < 3; c++)
            to->view.at<float>(n, i, j, c) = from->view.at<float>(n, i + 4, j + 5, c);
  forward(Ssim{}, {crop(x.view), crop(y.view)}, {value.view});
  forward(Ssim{}, {x_crop.view, y_crop.view}, {expected.view});
  expect_same_bits(value.data, expected.data, "value");
}

TEST_P(ImageOps, GreyHasNoChroma) {
  Tensor<uint8_t> bytes({1, 32, 32, 3}), packed({1, 16, 16, 6});
  Tensor<float> x({1, 32, 32, 3}), y({1, 16, 16, 6});
  for (int64_t block = 0; block < 256; block++)
    for (int p = 0; p < 4; p++)
      for (int c = 0; c < 3; c++) {
        const int64_t i = block / 16 * 2 + p / 2, j = block % 16 * 2 + p % 2;
        const int grey = int(block * (p + 1)) % 256;  // another in each pixel
        bytes.view.at<uint8_t>(0, i, j, c) = uint8_t(grey);
        x.view.at<float>(0, i, j, c) = float(grey) / 127.5f - 1;
      }
  forward(Yuv420Pack{}, {bytes.view}, {packed.view});
  forward(Yuv420Pack{}, {x.view}, {y.view});
  for (int64_t block = 0; block < 256; block++)
    for (int c : {4, 5}) {
      ASSERT_EQ(packed.data[size_t(block * 6 + c)], 128);
      ASSERT_EQ(y.data[size_t(block * 6 + c)], 1.f / 255);
    }
}

// A frame whose green counts its pixels shows the order of the phases: 0 2 / 1 3.
TEST_P(ImageOps, LumaPhasesGoDownThenRight) {
  Tensor<uint8_t> x({1, 2, 4, 3}), y({1, 1, 2, 6});
  for (int64_t i = 0; i < 2; i++)
    for (int64_t j = 0; j < 4; j++) x.view.at<uint8_t>(0, i, j, 1) = uint8_t(128 * (i % 2) + 64 * (j % 2));
  forward(Yuv420Pack{}, {x.view}, {y.view});
  auto luma = [](int green) { return ((65 * green + 64) >> 7) + 16; };
  for (int64_t block = 0; block < 2; block++)
    for (int phase = 0; phase < 4; phase++)
      ASSERT_EQ(y.view.at<uint8_t>(0, 0, block, phase), luma(128 * (phase % 2) + 64 * (phase / 2)));
}

TEST_P(ImageOps, TheTwoFormsOfYuvAgreeToAByte) {
  const Tensor<uint8_t> bytes = random_bytes({1, 64, 64, 3}, 8);
  Tensor<uint8_t> packed({1, 32, 32, 6});
  Tensor<float> x({1, 64, 64, 3}), y({1, 32, 32, 6});
  forward(ImageToFloat{}, {bytes.view}, {x.view});
  forward(Yuv420Pack{}, {bytes.view}, {packed.view});
  forward(Yuv420Pack{}, {x.view}, {y.view});
  double worst[2] = {};
  for (size_t i = 0; i < packed.data.size(); i++) {
    const double error = std::fabs((double(y.data[i]) + 1) * 127.5 - packed.data[i]);
    double& w = worst[i % 6 >= 4];
    w = std::max(w, error);
  }
  EXPECT_LE(worst[0], 0.5001);
  EXPECT_LE(worst[1], 0.6101);
  EXPECT_GE(worst[1], 0.5);  // the means are rounded too
}

TEST_P(ImageOps, BytesSurviveBeingFloats) {
  Tensor<uint8_t> x({1, 256}), back({1, 256});
  for (size_t i = 0; i < 256; i++) x.data[i] = uint8_t(i);
  Tensor<float> wide({1, 256});
  forward(ImageToFloat{}, {x.view}, {wide.view});
  forward(FloatToImage{}, {wide.view}, {back.view});
  EXPECT_EQ(back.data, x.data);
  EXPECT_EQ(wide.data[0], -1.f);
  EXPECT_EQ(wide.data[255], 1.f);
  for (size_t i = 0; i < 256; i++) ASSERT_EQ(wide.data[i], -wide.data[255 - i]);

  Tensor<bf16> narrow({1, 256});
  std::fill(back.data.begin(), back.data.end(), uint8_t(7));
  forward(ImageToFloat{DType::bf16}, {x.view}, {narrow.view});
  forward(FloatToImage{}, {narrow.view}, {back.view});
  EXPECT_EQ(back.data, x.data);
}

TEST_P(ImageOps, PushPullKeepsAConstantAndNeverReadsAHole) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float value : {0.3f, -7.1f}) {
    Tensor<float> x({2, 13, 22, 3}, value), y({2, 13, 22, 3});
    Tensor<uint8_t> mask = random_bytes({2, 13, 22}, 9);
    for (size_t p = 0; p < mask.data.size(); p++) {
      mask.data[p] = mask.data[p] % 7 == 0;
      if (!mask.data[p]) std::fill_n(x.data.begin() + int64_t(3 * p), 3, nan);
    }
    forward(PushPull{}, {x.view, mask.view}, {y.view});
    expect_same_bits(y.data, std::vector<float>(y.data.size(), value), "with a mask");
    Tensor<float> soft = random_image({2, 13, 22}, 10), constant({2, 13, 22, 3}, value);
    forward(PushPull{}, {constant.view, soft.view}, {y.view});
    expect_same_bits(y.data, constant.data, "with weights");
  }
}

TEST_P(ImageOps, PushPullKeepsValidPixelsAndStaysWithinTheirRange) {
  const Tensor<float> x = random_image({1, 37, 50, 2}, 11);
  Tensor<float> y({1, 37, 50, 2});
  Tensor<uint8_t> mask({1, 37, 50}, 1);
  for (int64_t i = 5; i < 30; i++)
    for (int64_t j = 8; j < 33; j++) mask.view.at<uint8_t>(0, i, j) = 0;
  forward(PushPull{}, {x.view, mask.view}, {y.view});
  float low = 1, high = -1;
  for (int64_t i = 0; i < 37; i++)
    for (int64_t j = 0; j < 50; j++)
      for (int64_t c = 0; c < 2 && mask.view.at<uint8_t>(0, i, j); c++)
        low = std::min(low, x.view.at<float>(0, i, j, c)), high = std::max(high, x.view.at<float>(0, i, j, c));
  for (int64_t i = 0; i < 37; i++)
    for (int64_t j = 0; j < 50; j++)
      for (int64_t c = 0; c < 2; c++) {
        const float before = x.view.at<float>(0, i, j, c), after = y.view.at<float>(0, i, j, c);
        if (mask.view.at<uint8_t>(0, i, j)) ASSERT_EQ(before, after);
        else ASSERT_TRUE(after > low && after < high && after != before) << i << ", " << j << ": " << after;
      }
}

// ---- max pooling, relu ----

TEST_P(ImageOps, MaxPoolFollowsTheTotalOrder) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  struct Window {
    std::array<float, 4> x;
    float y;
    int32_t place;
  };
  const Window windows[] = {
      {{-3, -1, -2, -1}, -1, 1},        {{-0.f, 0.f, -0.f, 0.f}, 0.f, 1},   {{-0.f, -1, -0.f, -2}, -0.f, 0},
      {{1, nan, inf, nan}, nan, 1},     {{-inf, -inf, -inf, -inf}, -inf, 0}, {{inf, 1, inf, 2}, inf, 0},
      {{-nan, -inf, 1, nan}, nan, 0},   {{1e-45f, 0, 3e-45f, 0}, 3e-45f, 2}, {{5, 5, 5, std::nextafter(5.f, 6.f)},
                                                                             std::nextafter(5.f, 6.f), 3}};
  for (int64_t channels : {1, 37}) {  // in each lane
    const int64_t count = std::ssize(windows);
    Tensor<float> x({1, 2, 2 * count, channels}), y({1, 1, count, channels}), expected({1, 1, count, channels});
    Tensor<int32_t> index({1, 1, count, channels});
    for (int64_t i = 0; i < count; i++)
      for (int64_t c = 0; c < channels; c++) {
        for (int64_t k = 0; k < 4; k++) x.view.at<float>(0, k / 2, 2 * i + k % 2, c) = windows[i].x[size_t(k)];
        expected.view.at<float>(0, 0, i, c) = windows[i].y;
      }
    forward(MaxPool2d{.kernel = {2, 2}, .stride = {2, 2}}, {x.view}, {y.view, index.view});
    expect_same_bits(y.data, expected.data, "y");
    for (int64_t i = 0; i < count; i++)
      for (int64_t c = 0; c < channels; c++) ASSERT_EQ(index.view.at<int32_t>(0, 0, i, c), windows[i].place) << i;
  }
}

TEST_P(ImageOps, PaddingNeverWinsAMaximum) {
  const float inf = std::numeric_limits<float>::infinity();
  for (float value : {-2.f, -inf}) {
    Tensor<float> x({1, 3, 3, 5}, value), y({1, 2, 2, 5});
    Tensor<int32_t> index({1, 2, 2, 5});
    forward(MaxPool2d{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, {x.view}, {y.view, index.view});
    expect_same_bits(y.data, std::vector<float>(y.data.size(), value), "y");
    for (int64_t i = 0; i < 4; i++)  // the first pixel that lies in the image
      EXPECT_EQ(index.view.at<int32_t>(0, i / 2, i % 2, 3), (i / 2 ? 0 : 3) + (i % 2 ? 0 : 1)) << i;
  }
}

// The gradient of a pixel that several windows chose is their sum in order, written out as plain loops; else +0.
TEST_P(ImageOps, MaxPoolGathersItsGradientInOrder) {
  for (auto [k, stride, padding] : {std::array{3, 2, 0}, {3, 2, 1}, {3, 1, 1}, {5, 1, 2}}) {
    const MaxPool2d op{.kernel = {k, k}, .stride = {stride, stride}, .padding = {padding, padding}};
    Tensor<float> x = random_image({2, 9, 11, 21}, 7);
    const Sizes sizes = op.infer({x.view})[0].sizes;
    Tensor<float> y(sizes), dy = random_image(sizes, 8), dx(x.view.sizes), expected(x.view.sizes);
    Tensor<int32_t> index(sizes);
    int several = 0;
    forward(op, {x.view}, {y.view, index.view});
    for (int64_t n = 0; n < 2; n++)
      for (int64_t c = 0; c < 21; c++) {
        std::array<int, 99> terms{};
        for (int64_t i = 0; i < sizes[1]; i++)
          for (int64_t j = 0; j < sizes[2]; j++) {
            const int32_t place = index.view.at<int32_t>(n, i, j, c);
            const int64_t h = i * stride - padding + place / k, w = j * stride - padding + place % k;
            ASSERT_EQ(x.view.at<float>(n, h, w, c), y.view.at<float>(n, i, j, c));
            expected.view.at<float>(n, h, w, c) += dy.view.at<float>(n, i, j, c);
            several += ++terms[size_t(h * 11 + w)] == 3;
          }
      }
    EXPECT_GT(several, 20) << "sums whose order matters";
    run_backward(ctx_, op, {x.view}, {y.view, index.view}, {dy.view}, {dx.view});
    expect_same_bits(dx.data, expected.data, "dx");
  }
}

TEST_P(ImageOps, ReluKeepsWhatIsPositiveAndNaN) {
  const float inf = std::numeric_limits<float>::infinity(), odd = std::bit_cast<float>(0xffc12345u);
  Tensor<float> x({1, 9}), y({1, 9}), dy({1, 9}, 3), dx({1, 9});
  x.data = {-0.f, 0.f, odd, inf, -inf, 1e-45f, -1e-45f, 2, -2};
  forward(Relu{}, {x.view}, {y.view});
  expect_same_bits(y.data, {0, 0, odd, inf, 0, 1e-45f, 0, 2, 0}, "y");
  run_backward(ctx_, Relu{}, {x.view}, {y.view}, {dy.view}, {dx.view});
  expect_same_bits(dx.data, {0, 0, 3, 3, 0, 3, 0, 3, 0}, "dx");
}

TEST_P(ImageOps, BadCallsAreRefused) {
  Tensor<float> odd({1, 5, 4, 3}), small({1, 10, 20, 3}), image({1, 4, 4, 3});
  EXPECT_THROW(Yuv420Pack{}.infer({odd.view}), Error);
  EXPECT_THROW(Ssim{}.infer({small.view, small.view}), Error);
  EXPECT_THROW((Resize2d{0, 4}.infer({image.view})), Error);
  EXPECT_THROW(ImageToFloat{}.infer({image.view}), Error);
  EXPECT_THROW(FloatToImage{}.infer({Tensor<uint8_t>({1, 4}).view}), Error);
  EXPECT_THROW(PushPull{}.infer({image.view, image.view}), Error);
  EXPECT_THROW((MaxPool2d{.kernel = {2, 2}, .padding = {2, 0}}.infer({image.view})), Error);
  EXPECT_THROW((MaxPool2d{.kernel = {5, 5}}.infer({image.view})), Error);
  EXPECT_THROW((MaxPool2d{.kernel = {23, 23}}.infer({Tensor<float>({1, 30, 30, 1}).view})), Error);
  EXPECT_THROW((MaxPool2d{.kernel = {2, 2}, .padding = {1, 1}}.infer({Tensor<float>({1, 0, 4, 1}).view})), Error);
}

INSTANTIATE_TEST_SUITE_P(All, ImageOps, testing::ValuesIn(cpu_backends()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace dr
