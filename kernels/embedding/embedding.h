#pragma once
// Rows of a table by number.
//
//   y[.., c] = table[ids[..], c]
//
//   table (V,C) f32|bf16, packed, shared    ids i32 of 1 to 4 axes, packed    y (ids' shape, C) like table, packed
// Throws where an id is not in [0, V), naming its place.
// backward: dtable, per leaf (leaves,V,C): row v is the sum of dy over the leaf's places that hold v, in ascending
// order:
//   chunks of 512 such places, a chain of additions from +0 inside, chunk sums added in ascending order. A row that no
//   place holds is +0. By a counting sort of the places, without atomics, hence deterministic (PyTorch's CUDA backward
//   of Embedding is not).

#include "kernels/core/chain_depth.h"
#include "kernels/core/op.h"
#include "kernels/gather/indexed_sums.h"

namespace dr {

struct Embedding {
  static constexpr std::string_view name = "embedding";

  struct In {
    View table, ids;
    static constexpr auto names = fields("table", "ids");
    static constexpr auto shared = fields("table");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View table; static constexpr auto names = fields("table"); };

  Shapes infer(const In& in) const {
    CHECK(in.table.rank() == 2 && in.table.packed(), "embedding: table must be (V,C), packed, got {}",
          to_string(in.table));
    expect_float(in.table, "embedding: table");
    CHECK(in.ids.rank() >= 1 && in.ids.rank() <= 4 && in.ids.packed() && in.ids.dtype == DType::i32,
          "embedding: ids must be i32 of 1 to 4 axes, packed, got {}", to_string(in.ids));
    CHECK(in.table.size(0) < INT32_MAX && in.ids.count() < INT32_MAX, "embedding: table {} or ids {} are too large",
          to_string(in.table), to_string(in.ids));
    TensorSpec y{in.table.dtype, in.ids.sizes};
    y.sizes.d[y.sizes.rank++] = in.table.size(1);
    return {y};
  }
  // Where each row's places begin, and the places sorted by row.
  size_t scratch_bytes(const In& in, int) const {
    return size_t(in.table.size(0) + 1 + in.ids.count()) * sizeof(int32_t);
  }
  size_t device_scratch_bytes(const In& in) const {  // one leaf after the other, each of all ids at most
    return IndexedSums{.rows = in.table.size(0), .indices = in.ids.count(), .elements = in.table.size(1)}.bytes();
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In& in) const { return chain_depth(in.ids.count()); }
  Cost cost(const In& in) const {  // reads the rows that are named, not the table
    const double bytes = double(infer(in)[0].sizes.count()) * double(size_of(in.table.dtype));
    return {0, bytes + double(in.ids.bytes()), bytes};
  }
  Cost backward_cost(const In& in) const {
    const double elements = double(infer(in)[0].sizes.count());
    return {elements, elements * double(size_of(in.table.dtype)) + double(in.ids.bytes()),
            double(in.table.count()) * sizeof(float)};
  }

  static std::vector<Case<Embedding>> cases() {
    auto make = [](int64_t v, int64_t c, Sizes ids, DType t) {
      return Case<Embedding>({}, {.name = format("V={},C={},ids={},{}", v, c, to_string(ids), name_of(t)),
                                  .in = {normal({v, c}).as(t), integers(ids, 0, v - 1)}, .samples = int(ids[0])});
    };
    std::vector<Case<Embedding>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(5, 33, {3, 7}, t));
      list.push_back(make(31, 5, {7}, t));
      list.push_back(make(2, 64, {2, 5, 31}, t));
    }
    list.push_back(make(1, 1, {1}, DType::f32));
    list.push_back(make(2, 3, {1, 1300}, DType::f32));  // more than a chunk of places for a row
    list.push_back(make(7, 5, {1, 0}, DType::f32));
    list.back().gradient = false;  // all zero
    list.push_back(Case<Embedding>(
        {}, {.name = "adversarial", .in = {adversarial({7, 40}), integers({8, 3}, 0, 6)}, .samples = 8}));
    list.push_back(make(50, 1024, {512, 15}, DType::f32));
    list.back().bench = true, list.back().samples = 1;
    return list;
  }
};

}  // namespace dr
