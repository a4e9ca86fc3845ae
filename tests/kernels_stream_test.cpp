// Outputs large enough to be streamed past the caches have the bits that the same op gives row block by row block.

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gelu/gelu.h"
#include "kernels/harness/cases.h"
#include "kernels/layernorm/layernorm.h"

namespace dr {
namespace {

using harness::GuardedTensor;

// Packed, on a cache line, as an allocator gives it.
class Matrix {
 public:
  Matrix(DType t, int64_t rows, int64_t cols) : storage_(size_t(rows * cols) * size_of(t) + 64, std::byte{0xff}) {
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(storage_.data()) % 64) % 64;
    view_ = View(storage_.data() + skip, t, {rows, cols});
  }
  const View& view() const { return view_; }

 private:
  std::vector<std::byte> storage_;
  View view_;
};

bool same_bits(const View& a, const View& b) { return std::memcmp(a.data, b.data, a.bytes()) == 0; }

// forward and backward (gradient of the first input) of the whole batch in one call, and of 16 slices of its rows.
template <class O>
void expect_slices_equal_whole(const O& op, DType t, auto in_of, auto out_of, auto grad_of) {
  const int64_t cols = 544,
                rows = (int64_t{36} << 20) / cols / int64_t(size_of(t)) / 16 * 16;  // 36 MB; rows of whole cache lines
  Matrix x(t, rows, cols), dy(t, rows, cols);
  harness::fill(x.view(), normal({rows, cols}).as(t), "stream", "x");
  harness::fill(dy.view(), normal({rows, cols}).as(t), "stream", "dy");
  for (Backend backend : cpu_backends()) {
    ThreadPool pool(2);
    std::vector<std::byte> scratch(size_t{4} << 20);
    Context ctx;
    ctx.backend = backend;
    ctx.pool = &pool;
    ctx.scratch = scratch;
    Matrix y(t, rows, cols), dx(t, rows, cols), y_sliced(t, rows, cols), dx_sliced(t, rows, cols);
    auto call = [&](int64_t first, int64_t count, const Matrix& y_to, const Matrix& dx_to) {
      const View part = x.view().slice(0, first, count);
      Matrix statistics(DType::f32, 2, count);
      const auto out = out_of(y_to.view().slice(0, first, count), statistics.view());
      run_forward(ctx, op, in_of(part), out);
      run_backward(ctx, op, in_of(part), out, typename O::OutGrad{dy.view().slice(0, first, count)},
                   grad_of(dx_to.view().slice(0, first, count)));
    };
    call(0, rows, y, dx);
    for (int64_t first = 0; first < rows; first += rows / 16) call(first, rows / 16, y_sliced, dx_sliced);
    EXPECT_TRUE(same_bits(y.view(), y_sliced.view())) << name_of(backend);
    EXPECT_TRUE(same_bits(dx.view(), dx_sliced.view())) << name_of(backend);
  }
}

View row(const View& v, int64_t r) { return View(v.slice(0, r, 1).data, v.dtype, {v.size(1)}); }

class Stream : public testing::TestWithParam<DType> {};

TEST_P(Stream, Gelu) {
  expect_slices_equal_whole(
      Gelu{}, GetParam(), [](View x) { return Gelu::In{x}; }, [](View y, View) { return Gelu::Out{y}; },
      [](View dx) { return Gelu::Grad{dx}; });
}

TEST_P(Stream, LayerNorm) {
  expect_slices_equal_whole(
      LayerNorm{}, GetParam(), [](View x) { return LayerNorm::In{x, {}, {}}; },
      [](View y, View statistics) { return LayerNorm::Out{y, row(statistics, 0), row(statistics, 1)}; },
      [](View dx) { return LayerNorm::Grad{dx, {}, {}}; });
}

TEST_P(Stream, GatedResidual) {
  Matrix gate(DType::f32, 1, 544);
  harness::fill(gate.view(), normal({1, 544}), "stream", "gate");
  expect_slices_equal_whole(
      GatedResidual{}, GetParam(), [&](View x) { return GatedResidual::In{x, x, gate.view()}; },
      [](View y, View) { return GatedResidual::Out{y}; }, [](View dx) { return GatedResidual::Grad{{}, dx, {}}; });
}

INSTANTIATE_TEST_SUITE_P(All, Stream, testing::Values(DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace dr
