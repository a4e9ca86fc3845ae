#pragma once
// Small ops for the tests of runtime/: plain loops, one body for every CPU backend, each showing one thing that a tape
// must get right.

#include <cmath>

#include "kernels/core/dispatch.h"
#include "kernels/core/erased_op.h"
#include "kernels/core/philox.h"
#include "runtime/parameters.h"

namespace dr::test {

// y[r,c] = x[r,c] * w[c]: w is shared by all samples, so its gradient has one row per leaf.
struct Gain {
  static constexpr std::string_view name = "gain";
  struct In {
    View x, w;
    static constexpr auto names = fields("x", "w");
    static constexpr auto shared = fields("w");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, w; static constexpr auto names = fields("x", "w"); };

  Shapes infer(const In& in) const {
    expect_f32(in.w, {in.x.size(1)}, "gain: w");
    return {{DType::f32, in.x.sizes}};
  }
  size_t scratch_bytes(const In& in, int) const { return size_t(in.x.size(1)) * sizeof(float); }
  template <Backend B>
  void forward(Context& ctx, const In& in, const Out& out) const {
    ctx.parallel(in.x.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++)
        for (int64_t c = 0; c < in.x.size(1); c++) out.y.at<float>(r, c) = in.x.at<float>(r, c) * in.w.at<float>(c);
    });
  }
  template <Backend B>
  void backward(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
    const int64_t rows = in.x.size(0), per_leaf = rows / ctx.leaves;
    CHECK(rows % ctx.leaves == 0, "gain: {} rows in {} leaves", rows, ctx.leaves);
    if (grad.x)
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < in.x.size(1); c++) grad.x.at<float>(r, c) = dy.y.at<float>(r, c) * in.w.at<float>(c);
    if (!grad.w) return;
    float* sum = ctx.scratch_as<float>(size_t(in.x.size(1)));
    for (int64_t leaf = 0; leaf < ctx.leaves; leaf++)
      for (int64_t c = 0; c < in.x.size(1); c++) {
        sum[c] = 0;
        for (int64_t r = leaf * per_leaf; r < (leaf + 1) * per_leaf; r++)
          sum[c] = std::fma(dy.y.at<float>(r, c), in.x.at<float>(r, c), sum[c]);
        grad.w.at<float>(leaf, c) = sum[c];
      }
  }
  void reference(const In&, const Out&, const Out&) const {}
  double gradient_k(const In&) const { return 1; }
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(3.0 * double(in.x.count()), in, infer(in)); }
  static std::vector<Case<Gain>> cases() { return {}; }
};

// z = a * b.
struct Product {
  static constexpr std::string_view name = "product";
  struct In { View a, b; static constexpr auto names = fields("a", "b"); };
  struct Out { View z; static constexpr auto names = fields("z"); };
  struct OutGrad { View z; static constexpr auto names = fields("z"); };
  struct Grad { View a, b; static constexpr auto names = fields("a", "b"); };

  Shapes infer(const In& in) const {
    expect_sizes(in.b, in.a.sizes, "product: b");
    return {{DType::f32, in.a.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  static void multiply(const View& a, const View& b, const View& z) {
    for (int64_t r = 0; r < a.size(0); r++)
      for (int64_t c = 0; c < a.size(1); c++) z.at<float>(r, c) = a.at<float>(r, c) * b.at<float>(r, c);
  }
  template <Backend B>
  void forward(Context&, const In& in, const Out& out) const { multiply(in.a, in.b, out.z); }
  template <Backend B>
  void backward(Context&, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
    if (grad.a) multiply(dy.z, in.b, grad.a);
    if (grad.b) multiply(dy.z, in.a, grad.b);
  }
  void reference(const In&, const Out&, const Out&) const {}
  double gradient_k(const In&) const { return 1; }
  Cost cost(const In& in) const { return traffic(double(in.a.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(2.0 * double(in.a.count()), in, infer(in)); }
  static std::vector<Case<Product>> cases() { return {}; }
};

// y[r,c] = x[r,c] * m, m = 0.5, 1, 1.5 or 2 by the op id and the row's place in the step: a dropout that shows when
// either changes. One row per sample.
struct Jitter {
  static constexpr std::string_view name = "jitter";
  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const { return {{DType::f32, in.x.sizes}}; }
  size_t scratch_bytes(const In&, int) const { return 0; }
  static void scale(const Context& ctx, const View& from, const View& to) {
    for (int64_t r = 0; r < from.size(0); r++)
      for (int64_t c = 0; c < from.size(1); c++) {
        const uint64_t place = (ctx.first_sample + uint64_t(r)) * uint64_t(from.size(1)) + uint64_t(c);
        to.at<float>(r, c) = from.at<float>(r, c) * 0.5f * float(1 + random_bits({1, 0, ctx.op_id}, place) % 4);
      }
  }
  template <Backend B>
  void forward(Context& ctx, const In& in, const Out& out) const { scale(ctx, in.x, out.y); }
  template <Backend B>
  void backward(Context& ctx, const In&, const Out&, const OutGrad& dy, const Grad& grad) const {
    scale(ctx, dy.y, grad.x);
  }
  void reference(const In&, const Out&, const Out&) const {}
  double gradient_k(const In&) const { return 1; }
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(double(in.x.count()), in, infer(in)); }
  static std::vector<Case<Jitter>> cases() { return {}; }
};

// Numbers in [-1, 1), the same on every machine.
inline std::vector<float> numbers(int64_t n, uint32_t id) {
  std::vector<float> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) v[size_t(i)] = 2 * uniform_below_one(random_bits({2, 0, id}, uint64_t(i))) - 1;
  return v;
}
inline Tensor random(const Runtime& r, const Sizes& sizes, uint32_t id) {
  return r.from(numbers(sizes.count(), id), sizes);
}

inline std::vector<uint32_t> bits_of(const Tensor& t) {
  std::vector<uint32_t> list;
  for (float v : t.to_vector<float>()) list.push_back(std::bit_cast<uint32_t>(v));
  return list;
}

// Whether f throws dr::Error with `part` in its one line.
template <class F>
bool refuses(F&& f, std::string_view part) {
  try {
    f();
  } catch (const Error& e) {
    const std::string_view what = e.what();
    return what.find(part) != what.npos && what.find('\n') == what.npos;
  }
  return false;
}

}  // namespace dr::test
