// conv2d by the letter of its contract: loops over std::fma that are written down from the order stated there must give
// the same bits, and what padding contributes must be what the contract says.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/harness/check.h"

namespace dr {
namespace {

// A canonical dot product, term by term.
class Chain {
 public:
  void add(float a, float b) {
    if (length_ == 512) sum_ = value(), chunk_ = 0, length_ = 0, chunks_++;
    chunk_ = std::fma(a, b, chunk_);
    length_++;
  }
  float value() const { return chunks_ ? sum_ + chunk_ : chunk_; }

 private:
  float sum_ = 0, chunk_ = 0;
  int length_ = 0, chunks_ = 0;
};

float read(const View& v, int64_t a, int64_t b, int64_t c, int64_t d) {
  if (v.dtype == DType::bf16) return widen(v.at<bf16>(a, b, c, d));
  return v.at<float>(a, b, c, d);
}
// +0 outside the image.
float pixel(const View& v, int64_t n, int64_t h, int64_t w, int64_t c) {
  return h < 0 || h >= v.size(1) || w < 0 || w >= v.size(2) ? 0 : read(v, n, h, w, c);
}

void expect_bits(const View& v, int64_t index, float expected, std::string_view what) {
  if (testing::Test::HasFatalFailure()) return;  // the first will do
  if (v.dtype == DType::bf16)
    ASSERT_EQ(static_cast<const bf16*>(v.data)[index].bits, to_bf16(expected).bits) << what << " at " << index;
  else
    ASSERT_EQ(std::bit_cast<uint32_t>(static_cast<const float*>(v.data)[index]), std::bit_cast<uint32_t>(expected))
        << what << " at " << index << ": " << static_cast<const float*>(v.data)[index] << ", " << expected;
}

void compare_with_definition(const Conv2d& op, int leaves, const harness::CallTensors& t) {
  const View x = t.in[0], weight = t.in[1], bias = t.in[2], y = t.out[0], dy = t.out_grad[0];
  const View dx = t.grad[0], dweight = t.grad[1], dbias = t.grad[2];
  const int64_t outputs = weight.size(0) / op.groups, channels = weight.size(3);
  auto bias_at = [&](int64_t o) {
    return bias.dtype == DType::bf16 ? widen(bias.at<bf16>(o)) : bias.at<float>(o);
  };
  int64_t i = 0;
  for (int64_t n = 0; n < y.size(0); n++)
    for (int64_t oh = 0; oh < y.size(1); oh++)
      for (int64_t ow = 0; ow < y.size(2); ow++)
        for (int64_t o = 0; o < y.size(3); o++) {
          Chain s;
          for (int64_t kh = 0; kh < weight.size(1); kh++)
            for (int64_t kw = 0; kw < weight.size(2); kw++)
              for (int64_t c = 0; c < channels; c++)
                s.add(pixel(x, n, oh * op.stride.h - op.padding.top + kh * op.dilation.h,
                            ow * op.stride.w - op.padding.left + kw * op.dilation.w, o / outputs * channels + c),
                      read(weight, o, kh, kw, c));
          expect_bits(y, i++, bias ? s.value() + bias_at(o) : s.value(), "y");
        }
  i = 0;
  for (int64_t n = 0; n < x.size(0); n++)
    for (int64_t h = 0; h < x.size(1); h++)
      for (int64_t w = 0; w < x.size(2); w++)
        for (int64_t c = 0; c < x.size(3); c++) {
          Chain s;
          // Ascending oh is descending kh.
          for (int64_t kh = weight.size(1) - 1; kh >= 0; kh--)
            for (int64_t kw = weight.size(2) - 1; kw >= 0; kw--) {
              const int64_t down = h + op.padding.top - kh * op.dilation.h;
              const int64_t across = w + op.padding.left - kw * op.dilation.w;
              if (down % op.stride.h || across % op.stride.w) continue;
              for (int64_t o = c / channels * outputs; o < (c / channels + 1) * outputs; o++)
                s.add(pixel(dy, n, down / op.stride.h, across / op.stride.w, o), read(weight, o, kh, kw, c % channels));
            }
          expect_bits(dx, i++, s.value(), "dx");
        }
  const int64_t samples = x.size(0) / leaves;
  i = 0;
  for (int64_t leaf = 0; leaf < leaves; leaf++)
    for (int64_t o = 0; o < weight.size(0); o++)
      for (int64_t kh = 0; kh < weight.size(1); kh++)
        for (int64_t kw = 0; kw < weight.size(2); kw++)
          for (int64_t c = 0; c < channels; c++) {
            Chain s;
            for (int64_t n = leaf * samples; n < (leaf + 1) * samples; n++)
              for (int64_t oh = 0; oh < y.size(1); oh++)
                for (int64_t ow = 0; ow < y.size(2); ow++)
                  s.add(pixel(x, n, oh * op.stride.h - op.padding.top + kh * op.dilation.h,
                              ow * op.stride.w - op.padding.left + kw * op.dilation.w, o / outputs * channels + c),
                        read(dy, n, oh, ow, o));
            expect_bits(dweight, i++, s.value(), "dweight");
          }
  i = 0;
  for (int64_t leaf = 0; dbias && leaf < leaves; leaf++)
    for (int64_t o = 0; o < weight.size(0); o++) {
      Chain s;
      for (int64_t n = leaf * samples; n < (leaf + 1) * samples; n++)
        for (int64_t oh = 0; oh < y.size(1); oh++)
          for (int64_t ow = 0; ow < y.size(2); ow++) s.add(read(dy, n, oh, ow, o), 1);
      expect_bits(dbias, i++, s.value(), "dbias");
    }
}

class Conv2dDefinition : public testing::TestWithParam<Backend> {};

TEST_P(Conv2dDefinition, HoldsToTheBit) {
  int compared = 0;
  for (const Case<Conv2d>& c : Conv2d::cases()) {
    if (c.bench) continue;
    SCOPED_TRACE(c.name);
    harness::run_case({erase(c.op), c}, GetParam(), 2, 1, [&](const harness::CallTensors& t) {
      compare_with_definition(c.op, c.samples, t);
    });
    if (HasFatalFailure()) return;
    compared++;
  }
  EXPECT_GT(compared, 20);
}

// A tap in the padding multiplies its weight by zero: infinity gives NaN there and nowhere else.
TEST_P(Conv2dDefinition, PaddingTakesPart) {
  for (int channels : {1, 2, 5, 16, 40}) {
    const int64_t c = channels, h = 4, w = 5;
    std::vector<float> x(size_t(h * w * c), 1), weight(size_t(c * 9 * c), 1), y(size_t(h * w * c)), dx(x.size());
    weight[0] = std::numeric_limits<float>::infinity();  // filter 0, upper left tap, channel 0
    const Conv2d op = Conv2d::same(3);
    const Conv2d::In in{View(x.data(), DType::f32, {1, h, w, c}), View(weight.data(), DType::f32, {c, 3, 3, c}), {}};
    const View out(y.data(), DType::f32, {1, h, w, c});
    std::vector<std::byte> memory(op.scratch_bytes(in, 1) + 64);
    Context ctx;
    ctx.backend = GetParam();
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    ctx.scratch = {memory.data() + skip, memory.size() - 64};
    run_forward(ctx, op, in, {out});
    run_backward(ctx, op, in, {out}, {View(x.data(), DType::f32, {1, h, w, c})},
                 {View(dx.data(), DType::f32, {1, h, w, c}), {}, {}});
    for (int64_t r = 0; r < h; r++)
      for (int64_t q = 0; q < w; q++)
        for (int64_t o = 0; o < c; o++) {
          const size_t i = size_t((r * w + q) * c + o);
          EXPECT_EQ(std::isnan(y[i]), o == 0 && (r == 0 || q == 0)) << r << ',' << q << ',' << o;
          EXPECT_EQ(std::isnan(dx[i]), o == 0 && (r == h - 1 || q == w - 1)) << r << ',' << q << ',' << o;
        }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conv2dDefinition, testing::ValuesIn(cpu_backends()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(Conv2d, RefusesWhatDoesNotFit) {
  float data[64] = {};
  auto view = [&](Sizes s) { return View(data, DType::f32, s); };
  EXPECT_THROW(Conv2d{}.infer({view({1, 2, 2, 3}), view({2, 1, 1, 2}), {}}), Error);
  EXPECT_THROW(Conv2d{}.infer({view({1, 2, 2, 3}), view({2, 3, 3, 3}), {}}), Error);
  EXPECT_THROW(Conv2d{.groups = 2}.infer({view({1, 2, 2, 4}), view({3, 1, 1, 2}), {}}), Error);
  EXPECT_THROW(Conv2d{}.infer({view({1, 2, 2, 3}), view({2, 1, 1, 3}), view({3})}), Error);
  EXPECT_EQ(Conv2d::same(3, 2).infer({view({1, 5, 4, 1}), view({2, 3, 3, 1}), {}})[0].sizes, (Sizes{1, 3, 2, 2}));
}

}  // namespace
}  // namespace dr
