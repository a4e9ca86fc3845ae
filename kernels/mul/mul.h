#pragma once
// Elementwise product, by a tensor of the same shape or by one factor per row.
//
//   z[..] = a[..] * b[..]        or, where b's trailing axes have size 1, a row being what they span in a:
//   z[r,c] = a[r,c] * b[r]
//
//   a f32|bf16 of 1 to 6 axes    b like a; or f32 with a's sizes on the leading axes and 1 on the others    z like a
//   Any strides, last axis contiguous; with one factor per row, a's rows are packed. z is packed.
// Order: elementwise; one f32 product, rounded once more for bf16. Deterministic, independent of the batch.
// backward: da = dz b; db = dz a, or for a row's factor the canonical row sum of dz a, by fma.
// Throws if the shapes or dtypes do not fit together.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct Mul {
  static constexpr std::string_view name = "mul";

  struct In { View a, b; static constexpr auto names = fields("a", "b"); };
  struct Out { View z; static constexpr auto names = fields("z"); };
  struct OutGrad { View z; static constexpr auto names = fields("z"); };
  struct Grad { View a, b; static constexpr auto names = fields("a", "b"); };

  // Leading axes that count rows: all where b is like a.
  static int row_axes(const In& in) {
    int axes = in.a.rank();
    if (in.a.sizes == in.b.sizes) return axes;
    while (axes > 0 && in.b.size(axes - 1) == 1) axes--;
    return axes;
  }
  static int64_t row_length(const In& in) {
    int64_t n = 1;
    for (int i = row_axes(in); i < in.a.rank(); i++) n *= in.a.size(i);
    return n;
  }

  Shapes infer(const In& in) const {
    CHECK(in.a.rank() > 0, "mul: a is absent");
    expect_float(in.a, "mul: a");
    expect_float(in.b, "mul: b");
    CHECK(in.b.rank() == in.a.rank(), "mul: b must have the {} axes of a {}, got {}", in.a.rank(), to_string(in.a),
          to_string(in.b));
    const int axes = row_axes(in);
    for (int i = 0; i < axes; i++)
      CHECK(in.b.size(i) == in.a.size(i), "mul: b must be like a {}, or have size 1 on trailing axes, got {}",
            to_string(in.a), to_string(in.b));
    if (axes == in.a.rank())
      CHECK(in.b.dtype == in.a.dtype, "mul: a is {}, b is {}; one dtype is needed", to_string(in.a), to_string(in.b));
    else {
      CHECK(in.b.dtype != DType::bf16, "mul: a factor per row must be f32, got {}", to_string(in.b));
      CHECK(in.a.packed(axes), "mul: with a factor per row, the rows of a {} must be packed", to_string(in.a));
    }
    return {{in.a.dtype, in.a.sizes}};
  }
  // Rows that have a factor each.
  static RowBlocks rows(const In& in) { return RowBlocks(View(nullptr, DType::f32, {in.b.count(), row_length(in)})); }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const { return in.a.sizes == in.b.sizes ? 0 : rows(in).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A product; for the factor of a row, its sum: the additions of a lane, the butterfly and the tree.
  double gradient_k(const In& in) const {
    const int64_t n = row_length(in);
    return n == 1 ? 1 : 12 + double(std::min<int64_t>(n, 4096) / 32);
  }
  Cost cost(const In& in) const { return traffic(double(in.a.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads a, b and dz, writes da and db
    const double a = double(in.a.bytes()), b = double(in.b.bytes());
    return {(row_length(in) == 1 ? 2.0 : 3.0) * double(in.a.count()), 2 * a + b, a + b};
  }

  static std::vector<Case<Mul>> cases() {
    auto make = [](Sizes s, Sizes factor, DType t, int64_t pad = 0, bool bench = false) {
      return Case<Mul>({}, {.name = format("{}{},{}{}", to_string(s), s == factor ? "" : "*" + to_string(factor),
                                           name_of(t), pad ? ",strided" : ""),
                            .in = {normal(s, 0.5, 2).as(t).padded(pad),
                                   normal(factor, 0, 3).as(s == factor ? t : DType::f32).padded(2 * pad)},
                            .samples = bench || s[0] == 0 ? 1 : int(s[0]),
                            .bench = bench});
    };
    std::vector<Case<Mul>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({5, 33}, {5, 33}, t));
      list.push_back(make({3, 7, 31}, {3, 7, 31}, t, 3));
      list.push_back(make({5, 31}, {5, 1}, t, 3));
      list.push_back(make({2, 5, 3, 7}, {2, 5, 1, 1}, t));
      list.push_back(make({0, 4}, {0, 1}, t));
    }
    list.push_back(make({7}, {7}, DType::f32));
    list.push_back(make({3, 20001}, {3, 20001}, DType::f32));  // several pieces of work, none a whole number of vectors
    list.push_back(make({2, 20001}, {2, 1}, DType::f32));      // rows of several blocks
    list.push_back(make({1, 33}, {1, 1}, DType::f32));
    list.push_back(make({2, 3, 0}, {2, 3, 1}, DType::f32));    // the factor's gradient is a sum of nothing
    list.back().gradient = false;
    for (int64_t factors : {40, 1})
      list.push_back(Case<Mul>({}, {.name = format("adversarial{}", factors == 1 ? " rows" : ""),
                                    .in = {adversarial({4, 40}), adversarial({4, factors})},
                                    .samples = 4}));
    list.push_back(make({64, 196608}, {64, 196608}, DType::f32, 0, true));
    list.push_back(make({64, 196608}, {64, 196608}, DType::bf16, 0, true));
    list.push_back(make({16384, 768}, {16384, 1}, DType::f32, 0, true));
    return list;
  }
};

}  // namespace dr
