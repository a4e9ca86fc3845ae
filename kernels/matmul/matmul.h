#pragma once
// Matrix product of equally many pairs of matrices.
//
//   y[.., m, n] = sum_k A[.., m, k] B[.., k, n]
//   A[m,k] = a[m,k], or a[k,m] with trans_a    B[k,n] = b[k,n], or b[n,k] with trans_b
//
//   a (..,M,K) or (..,K,M) f32|bf16    b (..,K,N) or (..,N,K) f32|bf16    y (..,M,N) of a's type, packed
//   The leading axes (none to four) are the same in a and b. The last axis is contiguous, other strides are free.
// Order: canonical GEMM: chunks of 512 along K, an fma chain from +0 in ascending k inside a chunk, chunk sums added in
//   ascending order; rounded once to y. K == 0 gives 0.
// backward: da = dy B^T and db = A^T dy, laid out as a and b, by the same order (along N and M).
// Deterministic, independent of the batch. Throws if the shapes do not fit together.

#include "kernels/core/op.h"
#include "kernels/core/chain_depth.h"
#include "kernels/core/gemm_scratch.h"

namespace dr {

struct MatMul {
  static constexpr std::string_view name = "matmul";
  bool trans_a = false, trans_b = false;

  struct In { View a, b; static constexpr auto names = fields("a", "b"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View a, b; static constexpr auto names = fields("a", "b"); };

  // Sizes of the product of one pair.
  int64_t m(const In& in) const { return in.a.size(in.a.rank() - (trans_a ? 1 : 2)); }
  int64_t k(const In& in) const { return in.a.size(in.a.rank() - (trans_a ? 2 : 1)); }
  int64_t n(const In& in) const { return in.b.size(in.b.rank() - (trans_b ? 2 : 1)); }

  Shapes infer(const In& in) const {
    const int rank = in.a.rank();
    CHECK(rank >= 2 && in.b.rank() == rank, "matmul: a and b must have the same rank of 2 or more, got {} and {}",
          to_string(in.a), to_string(in.b));
    expect_float(in.a, "matmul: a");
    expect_float(in.b, "matmul: b");
    const int64_t inner = in.b.size(rank - (trans_b ? 1 : 2));
    CHECK(k(in) == inner, "matmul: a {}{} has K={}, b {}{} has K={}", to_string(in.a), trans_a ? " transposed" : "",
          k(in), to_string(in.b), trans_b ? " transposed" : "", inner);
    Sizes y = in.a.sizes;
    for (int i = 0; i < rank - 2; i++)
      CHECK(in.a.size(i) == in.b.size(i), "matmul: leading axes differ: a {}, b {}", to_string(in.a), to_string(in.b));
    y[rank - 2] = m(in);
    y[rank - 1] = n(in);
    return {{in.a.dtype, y}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const {
    const int64_t a = in.a.count(), b = in.b.count(), y = infer(in)[0].sizes.count();
    return std::max({gemm_scratch_bytes(y, k(in)), gemm_scratch_bytes(a, n(in)), gemm_scratch_bytes(b, m(in))});
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Both gradients are one product.
  double gradient_k(const In& in) const { return std::max(chain_depth(m(in)), chain_depth(n(in))); }
  double fast_factor(const In& in) const {
    const int a = in.a.dtype == DType::f32, b = in.b.dtype == DType::f32;  // dy is like a
    return std::max({tile_factor(m(in), a + a), tile_factor(n(in), a + b), tile_factor(k(in), a + b)});
  }
  Cost cost(const In& in) const {
    return traffic(2.0 * double(infer(in)[0].sizes.count()) * double(k(in)), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    return backward_traffic(4.0 * double(infer(in)[0].sizes.count()) * double(k(in)), in, infer(in));
  }

  static std::vector<Case<MatMul>> cases() {
    auto make = [](int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb, DType a = DType::f32,
                   DType b = DType::f32, int64_t pad = 0) {
      auto matrix = [&](int64_t rows, int64_t columns) {
        return normal(batch ? Sizes{batch, rows, columns} : Sizes{rows, columns}).padded(pad);
      };
      std::string id =
          format("{}M={},N={},K={},{}{}", batch ? format("B={},", batch) : "", m, n, k, ta ? "T" : "N", tb ? "T" : "N");
      if (a != DType::f32 || b != DType::f32) id += format(",{}x{}", name_of(a), name_of(b));
      if (pad) id += ",strided";
      return Case<MatMul>({.trans_a = ta, .trans_b = tb},
                          {.name = id,
                           .in = {(ta ? matrix(k, m) : matrix(m, k)).as(a), (tb ? matrix(n, k) : matrix(k, n)).as(b)},
                           .samples = int(std::max<int64_t>(1, batch))});
    };
    std::vector<Case<MatMul>> list;
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        list.push_back(make(3, 33, 50, 40, ta, tb));
        list.push_back(make(2, 31, 33, 7, ta, tb, DType::bf16, DType::f32, 3));
        list.push_back(make(2, 5, 65, 33, ta, tb, DType::f32, DType::bf16));
        list.push_back(make(0, 7, 31, 600, ta, tb, DType::bf16, DType::bf16));  // a second, shorter chunk
        list.push_back(make(0, 9, 17, 1100, ta, tb, DType::f32, DType::f32, 5));
        list.push_back(make(0, 67, 113, 65, ta, tb));
      }
    for (bool ta : {false, true})  // rows of whole 16 bytes, as matrix tiles want them: full tiles and cut ones
      for (bool tb : {false, true}) {
        list.push_back(make(2, 136, 72, 40, ta, tb, DType::bf16, DType::bf16));
        list.push_back(make(0, 24, 144, 104, ta, tb, DType::bf16, DType::bf16, 8));
      }
    list.push_back(make(0, 130, 133, 21, false, true));
    list.push_back(make(0, 9, 17, 2600, true, false));  // six chunks
    for (int64_t s : {1, 5, 7, 31, 33}) list.push_back(make(0, s, s, s, false, true));
    list.push_back(make(2, 1, 1, 1, true, false));
    list.push_back(make(2, 1, 100, 512, false, false));
    list.push_back(make(2, 100, 1, 513, false, true));
    list.push_back(make(2, 600, 3, 5, true, false));  // gradients of more than one chunk
    for (auto [m, n, k] : {std::array<int64_t, 3>{0, 5, 7}, {5, 0, 7}, {5, 7, 0}}) {
      list.push_back(make(2, m, n, k, false, false));
      list.back().gradient = false;  // every gradient that is not empty is zero
    }
    list.push_back(Case<MatMul>(
        {}, {.name = "rank=4", .in = {normal({2, 3, 5, 9}).padded(2), normal({2, 3, 9, 18}).padded(1)}, .samples = 2}));
    list.push_back(Case<MatMul>({.trans_b = true},
                                {.name = "adversarial", .in = {adversarial({9, 530}), adversarial({20, 530})}}));
    for (auto [m, n, k] :
         {std::array<int64_t, 3>{1920, 768, 768}, {1920, 3072, 768}, {1920, 768, 3072}, {512, 512, 512}})
      for (bool ta : {false, true})
        for (bool tb : {false, true}) {
          list.push_back(make(0, m, n, k, ta, tb));
          list.back().bench = true;
        }
    list.push_back(make(192, 128, 128, 64, false, true));  // scores of attention: 16 clips of 12 heads
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
