#pragma once
// What the tests of kernels share: tensors that own their memory, comparisons that see every bit and every NaN, and a
// fixture that runs on each instruction set with several numbers of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"

namespace dr::test {

inline constexpr double u = 0x1p-24;  // half a unit in the last place of 1
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
struct TensorOf {
  std::vector<T> data;
  View view;

  // Uniform in [offset - scale, offset + scale); zeros for seed 0.
  explicit TensorOf(Sizes sizes, uint32_t seed = 0, float scale = 1, float offset = 0)
      : data(size_t(sizes.count())), view(data.data(), dtype_of<T>, sizes) {
    for (T& v : data) {
      seed = seed * 1664525u + 1013904223u * (seed != 0);
      v = seed ? T(offset + scale * (float(seed >> 8) * 0x1p-23f - 1.f)) : T{};
    }
  }
  TensorOf(Sizes sizes, std::vector<T> values) : data(std::move(values)), view(data.data(), dtype_of<T>, sizes) {
    EXPECT_EQ(int64_t(data.size()), sizes.count());
  }
  TensorOf(const TensorOf& o) : data(o.data), view(data.data(), dtype_of<T>, o.view.sizes) {}
  T operator[](int64_t i) const { return data[size_t(i)]; }
  T& operator[](int64_t i) { return data[size_t(i)]; }
  int64_t count() const { return int64_t(data.size()); }
  View as(Sizes sizes) { return View(data.data(), dtype_of<T>, sizes); }  // as many elements, seen otherwise
};
using Tensor = TensorOf<float>;
using Indices = TensorOf<int32_t>;
using Words = TensorOf<uint32_t>;

inline Tensor filled(Sizes sizes, float value) {
  return Tensor(sizes, std::vector<float>(size_t(sizes.count()), value));
}
inline Tensor unwritten(Sizes sizes) { return filled(sizes, kNan); }  // an output in which a gap shows

inline void expect_same_bits(const Tensor& a, const Tensor& b, const char* what) {
  ASSERT_EQ(a.data.size(), b.data.size());
  for (int64_t i = 0; i < a.count(); i++)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i] << ", " << b[i];
}

// |value - expected| <= bound; a NaN fails.
inline void expect_within(double value, double expected, double bound, const std::string& what) {
  EXPECT_TRUE(std::fabs(value - expected) <= bound)
      << what << ": " << value << ", expected " << expected << " within " << bound;
}

inline std::vector<double> softmax(const float* x, int64_t classes) {
  std::vector<double> p;
  const double max = *std::max_element(x, x + classes);
  for (int64_t c = 0; c < classes; c++) p.push_back(std::exp(double(x[c]) - max));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= sum;
  return p;
}

// A context of the parameters' backend and number of threads, with `scratch_bytes` less what aligns them.
class KernelTest : public testing::TestWithParam<std::tuple<Backend, int>> {
 protected:
  explicit KernelTest(size_t scratch_bytes, int leaves = 1)
      : pool_(std::get<1>(GetParam())), scratch_(scratch_bytes) {
    ctx_.backend = std::get<0>(GetParam());
    ctx_.pool = &pool_;
    ctx_.scratch = {reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(scratch_.data()) + 63) / 64 * 64),
                    scratch_.size() - 64};
    ctx_.leaves = leaves;
  }
  ThreadPool pool_;
  std::vector<std::byte> scratch_;
  Context ctx_;
};

// "avx2_3_threads"
inline std::string backend_and_threads(const testing::TestParamInfo<std::tuple<Backend, int>>& info) {
  return std::string(name_of(std::get<0>(info.param))) + "_" + std::to_string(std::get<1>(info.param)) + "_threads";
}

}  // namespace dr::test
