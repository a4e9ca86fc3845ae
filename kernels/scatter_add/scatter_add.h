#pragma once
// Rows added up by index: the other way round of Gather, and a histogram where x is ones.
//
//   y[b,n,..] = sum of x[b,m,..] over the m with index[b,m] = n        index -1: the row goes nowhere
//
//   x (B,M,..) f32|bf16|i32|u8, packed from axis 2 on    index (B,M) i32; or (M): the same for every b
//   y (B,rows,..) like x, packed    rows is a setting: N.
// Order: for each n a column sum over its m in ascending order: chains of 512 from +0, chunk sums in ascending order,
//   in f32, rounded once to y. No m: +0. Integers wrap round.
// backward: dx[b,m] = dy[b, index[b,m]], zeros for -1.
// Deterministic, independent of B. Throws at an index outside -1 .. rows - 1, and if the shapes do not fit together.

#include "kernels/gather/gather.h"

namespace dr {

struct ScatterAdd {
  static constexpr std::string_view name = "scatter_add";
  int64_t rows = 1;

  struct In { View x, index; static constexpr auto names = fields("x", "index"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    IndexedRows::check(in.x, in.index, name);
    CHECK(IndexedRows::entries(in.index) == in.x.size(1), "scatter_add: x {} has {} rows, index is {}",
          to_string(in.x), in.x.size(1), to_string(in.index));
    CHECK(rows >= 0, "scatter_add: rows must not be negative, got {}", rows);
    Sizes sizes = in.x.sizes;
    sizes[1] = rows;
    return {{in.x.dtype, sizes}};
  }
  size_t scratch_bytes(const In& in, int) const { return IndexedRows::of(in.x, in.index, rows).scratch_bytes(); }
  size_t device_scratch_bytes(const In& in) const {
    return IndexedRows::of(in.x, in.index, rows).device_scratch_bytes(in.x);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy: the bound covers the central differences' own rounding
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const double rows_read = double(in.x.bytes());
    return {0, rows_read + double(in.index.bytes()), rows_read};
  }

  static std::vector<Case<ScatterAdd>> cases() {
    auto make = [](int64_t rows, Sizes s, bool per_sample, DType t = DType::f32, int64_t pad = 0) {
      return Case<ScatterAdd>(
          {rows}, {.name = format("{},N={}{}{}{}", to_string(s), rows, per_sample ? "" : ",one index",
                                  t == DType::f32 ? "" : format(",{}", name_of(t)), pad ? ",strided" : ""),
                   .in = {is_floating(t)   ? normal(s, 0.3).as(t).padded(pad)
                          : t == DType::u8 ? integers(s, 0, 255).as(t)
                                           : integers(s, -99, 99),
                          integers(per_sample ? Sizes{s[0], s[1]} : Sizes{s[1]}, -1, rows - 1)},
                   .samples = per_sample && s[0] ? int(s[0]) : 1,
                   .gradient = is_floating(t) && s.count() > 0});
    };
    std::vector<Case<ScatterAdd>> list = {
        make(7, {3, 31, 33}, true),
        make(5, {3, 9, 31}, true, DType::bf16, 5),
        make(5, {2, 7, 2, 3, 7}, true),
        make(4, {5, 33}, true),
        make(150, {1, 40, 70}, true),
        make(7, {4, 12, 5}, false),
        make(2, {2, 1300, 5}, true),  // sums of several chunks
        make(1, {2, 600, 3}, true, DType::bf16),
        make(2050, {1, 8500, 1}, true),  // a device sorts by more digits than one, in tiles
        make(5, {3, 7, 4}, true, DType::i32),
        make(2, {3, 9, 33}, true, DType::u8),  // which wraps round
        make(4, {2, 0, 3}, true),
        make(4, {0, 5, 3}, true),
        Case<ScatterAdd>({3},
                         {.name = "adversarial",
                          .in = {adversarial({2, 60, 40}), integers({2, 60}, 0, 2)},
                          .samples = 2}),
    };
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(4096, {16, 4096, 256}, true, t));
      list.push_back(make(1024, {1, 32768, 768}, true, t));
      list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    }
    return list;
  }
};

}  // namespace dr
