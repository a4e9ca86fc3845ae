#pragma once
// Sum, mean, largest or smallest element along neighbouring axes.
//
//   y[o,c] = sum_i x[o,i,c]                   sum; mean divides it by n
//   y[o,c] = max_i x[o,i,c] or min_i          and index[o,c] = the lowest i where it stands: argmax, argmin
//   i counts the n elements of the axes `axis` .. axis + axes - 1 in row-major order, o those of the axes before them,
//   c those of the axes behind.
//
//   x f32|bf16 of 1 to 6 axes: axes behind packed, reduced axes evenly spaced, axes before with any strides
//   y like x with size 1 on the reduced axes, packed    index i32 like y, for max and min only
//   axis counts from the end where it is negative. A tensor is reduced as a whole with axis = 0 and axes = its rank.
// Order of sums: with the last axis among the reduced ones, canonical row sums (32 lanes, blocks of 4096, a tree); else
//   column sums (chains of 512 in ascending i, chunk sums in ascending order). Summed in f32; a mean divides the sum;
//   rounded once to y.
// Order of elements for max and min: total, -0 < +0, infinities are ordinary. The first NaN is y, as the quiet NaN
//   0x7fc00000, and gives its index.
// backward: dx = dy (sum) or dy / n (mean) for every i; dx = dy at index, +0 elsewhere (max, min).
// Deterministic, independent of how many o there are. A sum over nothing is 0, a mean NaN. Throws if n is 0 for max and
// min, or above 2^31 - 1.
// Where axis 0 is reduced, y is of all samples: a loss is summed per leaf, not with this op over a batch.

#include "kernels/core/chain_depth.h"
#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

enum class ReduceKind : uint8_t { sum, mean, max, min };

struct Reduce {
  static constexpr std::string_view name = "reduce";
  ReduceKind kind = ReduceKind::sum;
  int axis = -1;
  int axes = 1;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y, index; static constexpr auto names = fields("y", "index"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  bool ordered() const { return kind == ReduceKind::max || kind == ReduceKind::min; }

  // x as (outer, n, inner).
  struct Layout {
    int first = 0, last = 0;  // axes reduced: [first, last)
    int64_t outer = 1, n = 1, inner = 1;
    int64_t stride = 1;  // elements from one i to the next
    bool rows = false;   // the last axis is reduced
  };
  Layout layout(const View& x) const {
    Layout l;
    l.first = axis < 0 ? axis + x.rank() : axis;
    l.last = l.first + axes;
    CHECK(l.first >= 0 && axes >= 1 && l.last <= x.rank(), "reduce: {} axes from {} on are not all among those of {}",
          axes, axis, to_string(x));
    l.rows = l.last == x.rank();
    for (int i = 0; i < l.first; i++) l.outer *= x.size(i);
    for (int i = l.last; i < x.rank(); i++) l.inner *= x.size(i);
    for (int i = l.last - 1; i >= l.first; i--) {
      if (x.size(i) == 1) continue;
      if (l.n == 1) l.stride = x.stride(i);
      else
        CHECK(x.count() == 0 || x.stride(i) == l.stride * l.n, "reduce: the reduced axes of {} are not evenly spaced",
              to_string(x));
      l.n *= x.size(i);
    }
    return l;
  }

  Shapes infer(const In& in) const {
    expect_float(in.x, "reduce: x");
    const Layout l = layout(in.x);
    CHECK(in.x.packed(l.last), "reduce: the axes of {} behind the reduced ones must be packed", to_string(in.x));
    CHECK(!l.rows || l.n <= 1 || l.stride == 1, "reduce: the reduced axes of {} must be packed", to_string(in.x));
    CHECK(!ordered() || (l.n > 0 && l.n <= INT32_MAX), "reduce: max and min need 1 to 2^31 - 1 elements, got {}", l.n);
    Sizes sizes = in.x.sizes;
    for (int i = l.first; i < l.last; i++) sizes[i] = 1;
    return {{in.x.dtype, sizes}, {DType::i32, ordered() ? sizes : Sizes{}}};
  }
  // What the blocks of long rows give; or the column sums of later chunks, and all of them where y rounds them.
  static constexpr int64_t kBlock = 4096;
  size_t scratch_bytes(const In& in, int) const {
    const Layout l = layout(in.x);
    if (l.rows) return l.n > kBlock ? size_t(l.outer * ((l.n + kBlock - 1) / kBlock)) * 8 : 0;
    if (ordered()) return 0;
    return groups(l).scratch_bytes(1) + (in.x.dtype == DType::bf16 ? size_t(l.outer * l.inner) * sizeof(float) : 0);
  }
  // On a device: the parts of what has several, a block of a row or a chunk of a column.
  static int64_t parts(const Layout& l) {
    const int64_t each = l.rows ? kBlock : RowGroups::kChunk;
    return std::max<int64_t>(1, (l.n + each - 1) / each);
  }
  size_t device_scratch_bytes(const In& in) const {
    const Layout l = layout(in.x);
    return parts(l) > 1 ? size_t(l.outer * l.inner * parts(l)) * (ordered() ? sizeof(int64_t) : sizeof(float)) : 0;
  }
  static RowGroups groups(const Layout& l) { return {l.outer, l.outer * l.n, l.inner}; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy, or one quotient
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = cost(in);
    return {0, c.bytes_written, c.bytes_read};
  }

  static std::vector<Case<Reduce>> cases() {
    auto make = [](Reduce op, Sizes s, int samples, DType t = DType::f32, int64_t pad = 0) {
      constexpr std::string_view kinds[] = {"sum", "mean", "max", "min"};
      return Case<Reduce>(op, {.name = format("{},{},axis={}{}{}{}", kinds[int(op.kind)], to_string(s), op.axis,
                                              op.axes > 1 ? format("+{}", op.axes) : "",
                                              t == DType::f32 ? "" : format(",{}", name_of(t)), pad ? ",strided" : ""),
                               .in = {normal(s, 0.3, 2).as(t).padded(pad)},
                               .samples = samples,
                               // The few elements that central differences sample may all miss a maximum.
                               .gradient = !op.ordered() || s.count() <= 40});
    };
    using enum ReduceKind;
    std::vector<Case<Reduce>> list;
    for (ReduceKind k : {sum, mean, max, min}) {
      list.push_back(make({k}, {5, 33}, 5));
      list.push_back(make({k, 1}, {3, 31, 7}, 3));
      list.push_back(make({k}, {3, 7, 31}, 3, DType::bf16, 3));
      list.push_back(make({k, 1, 2}, {2, 5, 3, 33}, 2, DType::bf16));
      list.push_back(make({k, 1, 2}, {2, 5, 7, 1}, 2));  // columns, though of one element
      list.push_back(make({k, 2, 3}, {2, 3, 2, 5, 4}, 2));
      list.push_back(make({k}, {2, 9001}, 2));           // rows of three blocks
      list.push_back(make({k, 1}, {2, 1100, 5}, 2));     // three chunks
      list.push_back(make({k, 0, 2}, {33, 5}, 1));       // the whole tensor
      list.push_back(make({k, 0}, {7, 70}, 1));
      list.push_back(make({k, 1}, {0, 4, 5}, 1));
      list.push_back(Case<Reduce>({k}, {.name = format("adversarial,{}", list.back().name.substr(0, 4)),
                                        .in = {adversarial({4, 200})},
                                        .samples = 4,
                                        .gradient = k < max}));  // ties have no difference quotient
      if (k == sum) {  // a mean of nothing is NaN, which no bound lets pass
        list.push_back(make({k, 1}, {2, 0, 5}, 1));
        list.back().gradient = false;
      } else if (k >= max) {
        list.push_back(make({k}, {5, 7}, 5));
        list.push_back(make({k, 1}, {3, 4, 3}, 3));
        list.push_back(make({k, 1, 2}, {2, 3, 1, 5}, 2, DType::bf16));
        list.push_back(make({k}, {2, 3, 5}, 2, DType::bf16, 1));
        list.push_back(Case<Reduce>({k}, {.name = format("ties,{}", k == max ? "max" : "min"),
                                          .in = {values({3, 40}, {1, -1, 0, 1, -1, 0.5})},
                                          .samples = 3,
                                          .gradient = false}));
        list.push_back(list.back());
        list.back().name += ",columns";
        list.back().op.axis = 1;
        list.back().in = {values({3, 40, 19}, {1, -1, 0, 1, -1, 0.5, 1})};
      }
    }
    for (Reduce op : {Reduce{sum}, {sum, 0}, {max}, {max, 0}})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(op, {32768, 768}, 1, t));
        list.back().bench = true;
      }
    list.push_back(make({sum, 0, 2}, {32768, 768}, 1));
    list.push_back(make({mean, 1}, {128, 256, 768}, 1));
    list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    return list;
  }
};

}  // namespace dr
