#pragma once
// Rows of a tensor by index: a lookup per sample.
//
//   y[b,m,..] = x[b, index[b,m], ..]        index -1: zeros
//
//   x (B,N,..) f32|bf16|i32|u8, packed from axis 2 on; a row is what those axes span, one element where there are none
//   index (B,M) i32; or (M): the same for every b    y (B,M,..) like x, packed
//   Rows along another axis, or a table without samples, are a reshape away: (1,N,C).
// Copies bits: a NaN keeps its payload.
// backward: dx[b,n] = the sum of dy[b,m] over the m with index[b,m] = n, as ScatterAdd defines it. Nothing is added in
//   an order that depends on threads.
// Deterministic, independent of B. Throws at an index outside -1 .. N-1, and if the shapes do not fit together.

#include "kernels/core/chain_depth.h"
#include "kernels/core/op.h"
#include "kernels/gather/indexed_sums.h"

namespace dr {

// What Gather and ScatterAdd share of their contracts.
struct IndexedRows {
  int64_t batch, rows, indices;  // B, N, M
  int64_t index_sets;            // B, or 1 where every b has the same

  static int64_t entries(const View& index) { return index.size(index.rank() == 2 ? 1 : 0); }

  // `x` holds the `rows` rows that are pointed at (gather's x) or `indices` rows (scatter_add's).
  static void check(const View& x, const View& index, std::string_view op) {
    CHECK(is_floating(x.dtype) || x.dtype == DType::i32 || x.dtype == DType::u8,
          "{}: x must be f32, bf16, i32 or u8, got {}", op, to_string(x));
    CHECK(x.rank() >= 2, "{}: x must be (B,rows,..), got {}", op, to_string(x));
    CHECK(x.packed(2), "{}: the rows of x {} must be packed", op, to_string(x));
    CHECK(index.dtype == DType::i32 && (index.rank() == 1 || (index.rank() == 2 && index.size(0) == x.size(0))),
          "{}: index must be i32({},M) or i32(M), got {}", op, x.size(0), to_string(index));
    CHECK(entries(index) <= INT32_MAX, "{}: index {} has more than 2^31 - 1 entries", op,
          to_string(index));
  }
  static IndexedRows of(const View& x, const View& index, int64_t rows) {
    return {x.size(0), rows, entries(index), index.rank() == 1 ? 1 : x.size(0)};
  }
  // What a device takes to add rows to `to` (B,rows,..).
  size_t device_scratch_bytes(const View& to) const {
    int64_t elements = 1;
    for (int i = 2; i < to.rank(); i++) elements *= to.size(i);
    return IndexedSums{batch, index_sets, rows, indices, elements}.bytes();
  }
  // Of one set of indices: where each row's sources begin (and two more), and the sources row by row.
  size_t set_size() const { return size_t(rows + 2 + indices); }
  size_t scratch_bytes() const { return size_t(index_sets) * set_size() * sizeof(int32_t); }
};

struct Gather {
  static constexpr std::string_view name = "gather";

  struct In { View x, index; static constexpr auto names = fields("x", "index"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    IndexedRows::check(in.x, in.index, name);
    Sizes sizes = in.x.sizes;
    sizes[1] = IndexedRows::entries(in.index);
    return {{in.x.dtype, sizes}};
  }
  size_t scratch_bytes(const In& in, int) const {
    return IndexedRows::of(in.x, in.index, in.x.size(1)).scratch_bytes();
  }
  size_t device_scratch_bytes(const In& in) const {
    return IndexedRows::of(in.x, in.index, in.x.size(1)).device_scratch_bytes(in.x);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In& in) const { return chain_depth(IndexedRows::entries(in.index)); }
  Cost cost(const In& in) const {  // the rows that are asked for
    const double rows = double(infer(in)[0].sizes.count()) * double(size_of(in.x.dtype));
    return {0, rows + double(in.index.bytes()), rows};
  }
  Cost backward_cost(const In& in) const {
    const double rows = double(infer(in)[0].sizes.count()) * double(size_of(in.x.dtype));
    return {double(infer(in)[0].sizes.count()), rows + double(in.index.bytes()), double(in.x.bytes())};
  }

  static std::vector<Case<Gather>> cases() {
    auto make = [](Sizes s, int64_t m, bool per_sample, DType t = DType::f32, int64_t pad = 0) {
      const Input index = integers(per_sample ? Sizes{s[0], m} : Sizes{m}, s[1] ? -1 : 0, s[1] - 1);
      return Case<Gather>({}, {.name = format("{},M={}{}{}{}", to_string(s), m, per_sample ? "" : ",one index",
                                              t == DType::f32 ? "" : format(",{}", name_of(t)), pad ? ",strided" : ""),
                               .in = {is_floating(t)   ? normal(s).as(t).padded(pad)
                                      : t == DType::u8 ? integers(s, 0, 255).as(t)
                                                       : integers(s, -99, 99),
                                      index},
                               .samples = per_sample && s[0] ? int(s[0]) : 1,
                               .gradient = is_floating(t) && m > 0 && s.count() > 0});
    };
    std::vector<Case<Gather>> list = {
        make({3, 7, 33}, 31, true),
        make({3, 5, 31}, 9, true, DType::bf16, 5),
        make({2, 5, 2, 3, 7}, 7, true),
        make({5, 33}, 1, true),              // one element a row: the value of the action taken
        make({1, 31, 70}, 200, true),
        make({4, 7, 5}, 12, false),
        make({2, 3, 5}, 1300, true),         // sums of several chunks
        make({2, 1, 3}, 600, true, DType::bf16),
        make({3, 5, 4}, 7, true, DType::i32),
        make({3, 5, 33}, 7, true, DType::u8),
        make({2, 4, 3}, 0, true),
        make({0, 4, 3}, 5, true),
        Case<Gather>({}, {.name = "adversarial",
                          .in = {adversarial({2, 9, 40}), integers({2, 50}, 0, 8)},
                          .samples = 2}),
    };
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({16, 4096, 256}, 4096, true, t));
      list.push_back(make({1, 1024, 768}, 32768, true, t));
      list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    }
    return list;
  }
};

}  // namespace dr
