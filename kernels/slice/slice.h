#pragma once
// A part of a tensor along an axis, packed. Where a view will do, Tape::slice costs nothing.
//
//   y[.., i, ..] = x[.., begin + i step, ..],   0 <= i < length
//
//   x (..,N,..) f32|bf16|i32|u8, any strides, last axis contiguous    y (..,length,..) like x, packed
//   axis counts from the end where it is negative.
// Copies bits: a NaN keeps its payload. Along axis 0, y has other samples than x.
// backward: dx[.., begin + i step, ..] = dy[.., i, ..], and +0 everywhere else.
// Throws if length < 0, step < 1 or an element lies outside x.

#include "kernels/core/op.h"

namespace dr {

struct Slice {
  static constexpr std::string_view name = "slice";
  int axis = 0;
  int64_t begin = 0, length = 1, step = 1;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  int axis_of(int rank) const { return axis < 0 ? axis + rank : axis; }

  // The elements of x, or of its gradient, that y holds; where step > 1 on the last axis, that axis is not contiguous.
  View part_of(const View& x) const {
    const int a = axis_of(x.rank());
    View part = x.slice(a, begin, length);
    part.strides[size_t(a)] *= step;
    return part;
  }

  Shapes infer(const In& in) const {
    CHECK(is_floating(in.x.dtype) || in.x.dtype == DType::i32 || in.x.dtype == DType::u8,
          "slice: x must be f32, bf16, i32 or u8, got {}", to_string(in.x));
    const int a = axis_of(in.x.rank());
    CHECK(a >= 0 && a < in.x.rank(), "slice: axis {} is none of {}", axis, to_string(in.x));
    CHECK(begin >= 0 && length >= 0 && step >= 1 && begin <= in.x.size(a) &&
              (length == 0 || length - 1 <= (in.x.size(a) - 1 - begin) / step),
          "slice: {} elements from {} on in steps of {} do not lie in axis {} of {}", length, begin, step, a,
          to_string(in.x));
    Sizes sizes = in.x.sizes;
    sizes[a] = length;
    return {{in.x.dtype, sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy: the bound covers the central differences' own rounding
  Cost cost(const In& in) const {
    const double bytes = double(infer(in)[0].sizes.count()) * double(size_of(in.x.dtype));
    return {0, bytes, bytes};
  }
  Cost backward_cost(const In& in) const { return {0, cost(in).bytes_read, double(in.x.bytes())}; }

  static std::vector<Case<Slice>> cases() {
    auto make = [](Slice op, Sizes s, int samples, DType t = DType::f32, int64_t pad = 0) {
      return Case<Slice>(op, {.name = format("{},axis={},{}+{}{}{}{}", to_string(s), op.axis, op.begin, op.length,
                                             op.step > 1 ? format("x{}", op.step) : "",
                                             t == DType::f32 ? "" : format(",{}", name_of(t)), pad ? ",strided" : ""),
                              .in = {(t == DType::i32  ? integers(s, -99, 99)
                                      : t == DType::u8 ? integers(s, 0, 255).as(t)
                                                       : normal(s).as(t))
                                         .padded(pad)},
                              .samples = samples,
                              .gradient = is_floating(t) && op.length > 0});
    };
    std::vector<Case<Slice>> list = {
        make({1, 2, 5}, {5, 33}, 5),
        make({1, 0, 33}, {5, 33}, 5),
        make({-1, 1, 7, 4}, {3, 5, 31}, 3),
        make({1, 1, 3, 2}, {3, 7, 5}, 3, DType::bf16, 3),
        make({-2, 0, 2, 3}, {2, 1, 5, 7}, 2, DType::f32, 1),
        make({0, 2, 3}, {7, 5}, 1),
        make({0, 3, 5, 6}, {31}, 1),
        make({3, 1, 2}, {2, 1, 3, 4, 1, 5}, 2, DType::bf16),
        make({5, 1, 2, 2}, {2, 1, 2, 1, 3, 5}, 2),
        make({1, 1, 3}, {4, 5}, 4, DType::i32),
        make({1, 3, 20, 1}, {2, 33}, 2, DType::u8),
        make({1, 5, 0}, {2, 5}, 2),
        make({1, 1, 3}, {0, 5}, 1),
        Case<Slice>({1, 3, 30}, {.name = "adversarial", .in = {adversarial({4, 40})}, .samples = 4}),
    };
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({1, 64, 448}, {32, 512, 768}, 1, t));
      list.push_back(make({-1, 768, 768}, {8192, 2304}, 1, t));
      list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    }
    return list;
  }
};

}  // namespace dr
