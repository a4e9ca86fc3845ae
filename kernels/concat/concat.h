#pragma once
// Tensors one behind the other along an axis.
//
//   y = [x0 | x1 | ... | x5] along `axis`
//
//   x0 .. x5 of one dtype (f32, bf16, i32, u8), one rank (1 to 6) and one size on every other axis; any strides, last
//   axis contiguous; each may be absent or have size 0 along `axis`, one at least is there    y like them, packed
//   axis counts from the end where it is negative.
// Copies bits: a NaN keeps its payload. Along axis 0, y no longer has the samples of its inputs one by one.
// backward: dx_i = the part of dy that x_i went to.

#include "kernels/core/op.h"

namespace dr {

struct Concat {
  static constexpr std::string_view name = "concat";
  int axis = 0;

  struct In {
    View x0, x1, x2, x3, x4, x5;
    static constexpr auto names = fields("x0", "x1", "x2", "x3", "x4", "x5");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View x0, x1, x2, x3, x4, x5;
    static constexpr auto names = In::names;
  };

  int axis_of(int rank) const { return axis < 0 ? axis + rank : axis; }

  // f(i, the part of y that tensor i lies in) for each tensor that is there.
  template <class F>
  void for_parts(const In& in, const View& y, F&& f) const {
    const int a = axis_of(y.rank());
    const auto xs = views(in);
    int64_t begin = 0;
    for (size_t i = 0; i < xs.size(); i++) {
      if (!xs[i]->present()) continue;
      f(i, y.slice(a, begin, xs[i]->size(a)));
      begin += xs[i]->size(a);
    }
  }

  Shapes infer(const In& in) const {
    const View* first = nullptr;
    Sizes sizes;
    for (const View* x : views(in)) {
      if (!x->present()) continue;
      if (!first) {
        first = x;
        sizes = x->sizes;
        const int a = axis_of(x->rank());
        CHECK(a >= 0 && a < x->rank(), "concat: axis {} is none of {}", axis, to_string(*x));
        CHECK(is_floating(x->dtype) || x->dtype == DType::i32 || x->dtype == DType::u8,
              "concat: tensors must be f32, bf16, i32 or u8, got {}", to_string(*x));
        continue;
      }
      const int a = axis_of(first->rank());
      bool fits = x->rank() == first->rank() && x->dtype == first->dtype;
      for (int i = 0; fits && i < x->rank(); i++) fits = i == a || x->size(i) == first->size(i);
      CHECK(fits, "concat: tensors must be alike but for axis {}, got {} and {}", a, to_string(*first), to_string(*x));
      sizes[a] += x->size(a);
    }
    CHECK(first, "concat: no tensor is given");
    return {{first->dtype, sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy: the bound covers the central differences' own rounding
  Cost cost(const In& in) const { return traffic(0, in, infer(in)); }
  Cost backward_cost(const In& in) const { return traffic(0, in, infer(in)); }  // reads dy, writes the parts

  static std::vector<Case<Concat>> cases() {
    auto make = [](int axis, std::vector<Input> in, int samples, std::string_view note = "") {
      std::string id = format("axis={}", axis);
      for (const Input& x : in) id += x.sizes.rank ? "," + to_string(x.sizes) : ",absent";
      for (const Input& x : in)
        if (x.sizes.rank && x.dtype != DType::f32) {
          id += format(",{}", name_of(x.dtype));
          break;
        }
      in.resize(In::names.size(), absent());
      return Case<Concat>({axis}, {.name = id + std::string(note), .in = std::move(in), .samples = samples});
    };
    std::vector<Case<Concat>> list = {
        make(1, {normal({5, 7}), normal({5, 31}), normal({5, 1})}, 5),
        make(-1, {normal({2, 3, 33}), normal({2, 3, 5})}, 2),
        make(1, {normal({3, 7, 5}).padded(3), normal({3, 1, 5}), normal({3, 2, 5}).padded(1)}, 3, ",strided"),
        make(2, {normal({2, 3, 1, 4}).as(DType::bf16), normal({2, 3, 5, 4}).as(DType::bf16)}, 2),
        make(0, {normal({3, 7}), normal({2, 7}), normal({31, 7})}, 1),
        make(0, {normal({5}), normal({33})}, 1),
        make(-2, {normal({2, 1, 2, 1, 2, 3}).padded(2), normal({2, 1, 2, 1, 4, 3})}, 2, ",strided"),
        make(1, {absent(), normal({4, 3}), absent(), normal({4, 0}), normal({4, 2}), normal({4, 6})}, 4),
        make(1, {integers({3, 5}, -9, 9), integers({3, 2}, -9, 9)}, 3),
        make(1, {integers({3, 5}, 0, 255).as(DType::u8), integers({3, 33}, 0, 255).as(DType::u8)}, 3),
        make(1, {normal({0, 4}), normal({0, 3})}, 1),
        make(1, {adversarial({2, 40}), adversarial({2, 9})}, 2, ",adversarial"),
    };
    for (Case<Concat>& c : list)  // the gradient of an integer tensor is its part of dy, but has no difference quotient
      for (const Input& x : c.in) c.gradient &= is_floating(x.dtype);
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(1, {normal({8192, 768}).as(t), normal({8192, 256}).as(t)}, 1));
      list.push_back(make(1, {normal({32, 512, 768}).as(t), normal({32, 64, 768}).as(t)}, 1));
      list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    }
    return list;
  }
};

}  // namespace dr
