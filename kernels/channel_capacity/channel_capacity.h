#pragma once
// How many bits a Gaussian channel with noise of deviation sigma passes, measured on R vectors of C features.
//
//   mean[c] = sum_r x[r,c] / R        variance[c] = sum_r (x[r,c] - mean[c])^2 / R
//   feature_bits[c] = 1/2 log2(1 + variance[c] / sigma^2)        bits = sum_c feature_bits[c]
//   logdet_bits = 1/2 log2 det(I + Sigma / sigma^2),  Sigma[i,j] = sum_r (x[r,i] - mean[i]) (x[r,j] - mean[j]) / R
//   The first treats features as independent; the second is tighter, logdet_bits <= bits (Hadamard's inequality).
//
//   x (R,C) f32|bf16, rows may be strided    sigma (1) f32, not zero
//   mean, variance, feature_bits (C), bits, logdet_bits (1) f32, shared by all samples, packed
//   log_determinant = false leaves logdet_bits absent and saves R C^2 multiply-adds.
// Order: column sums and Sigma are chains down the rows in chunks of 512; squares and products are added by fma, and
//   d = x - mean is rounded once. feature_bits = k log1p(variance / (sigma sigma)) with k = 1 / (2 ln 2); bits by
//   canonical row sum.
//   A[i,j] = (S[i,j] / R) / (sigma sigma), plus 1 where i = j. Cholesky: A = U^T U, each element of U from its element
//   of A by a chain of fma(-U[k,i], U[k,j], .) in ascending k, then a root or a division. logdet_bits = (1 / ln 2)
//   times the canonical row sum of log(U[j,j]).
// Deterministic. logdet_bits is NaN where rounding makes a pivot negative: from variances of about 2^24 sigma^2 / C on.
// Throws if R or C is 0.
// Source: Cover & Thomas 2006, Elements of Information Theory, ch. 9; Higham 2002, Accuracy and Stability, ch. 10.

#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

struct ChannelCapacity {
  static constexpr std::string_view name = "channel_capacity";
  bool log_determinant = true;

  struct In {
    View x, sigma;
    static constexpr auto names = fields("x", "sigma");
    static constexpr auto shared = fields("sigma");
  };
  struct Out {
    View mean, variance, feature_bits, bits, logdet_bits;
    static constexpr auto names = fields("mean", "variance", "feature_bits", "bits", "logdet_bits");
    static constexpr auto shared = names;
  };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2 && in.x.size(0) > 0 && in.x.size(1) > 0,
          "channel_capacity: x must be (R,C) with R > 0 and C > 0, got {}", to_string(in.x));
    expect_float(in.x, "channel_capacity: x");
    expect_f32(in.sigma, {1}, "channel_capacity: sigma");
    const Sizes features{in.x.size(1)}, one{1};
    return {{DType::f32, features},
            {DType::f32, features},
            {DType::f32, features},
            {DType::f32, one},
            {DType::f32, log_determinant ? one : Sizes{}}};
  }
  static constexpr int64_t kChunk = 512;  // rows that one chain covers, and that are centred at a time
  size_t scratch_bytes(const In& in, int) const {  // a chunk of centred rows, and the matrix A
    const int64_t cols = in.x.size(1);
    return log_determinant ? size_t(cols * (kChunk + cols)) * sizeof(float) : 0;
  }
  // The chunks' sums, or those of long rows of features; then the matrix and its diagonal.
  size_t device_scratch_bytes(const In& in) const {
    const int64_t cols = in.x.size(1);
    return device_sums(in.x) + (log_determinant ? size_t(cols * (cols + 1)) * sizeof(float) : 0);
  }
  static size_t device_sums(const View& x) {
    const RowGroups g(1, x.size(0), x.size(1));
    return size_t(g.chunks() * g.cols) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  Cost cost(const In& in) const {
    const double rows = double(in.x.size(0)), cols = double(in.x.size(1));
    return traffic(4 * rows * cols + (log_determinant ? rows * cols * cols + cols * cols * cols / 3 : 0), in,
                   infer(in));
  }

  static std::vector<Case<ChannelCapacity>> cases() {
    auto make = [](int64_t rows, int64_t cols, DType t, int64_t pad = 0, bool log_determinant = true,
                   bool bench = false) {
      return Case<ChannelCapacity>({log_determinant},
                                   {.name = format("R={},C={},{}{}{}", rows, cols, name_of(t),
                                                   log_determinant ? "" : ",independent", pad ? ",strided" : ""),
                                    .in = {normal({rows, cols}, 0.5, 1).as(t).padded(pad), values({1}, {0.42})},
                                    .bench = bench});
    };
    std::vector<Case<ChannelCapacity>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(5, 3, t));
      list.push_back(make(40, 33, t, 3));
      list.push_back(make(33, 65, t, 0, false));
    }
    list.push_back(make(1, 4, DType::f32));     // no variance: 0 bits
    list.push_back(make(7, 31, DType::f32));    // fewer vectors than features: Sigma is singular
    list.push_back(make(1030, 37, DType::f32)); // three chunks, the last of six rows
    list.push_back(make(600, 1, DType::f32));
    list.push_back(make(20, 150, DType::f32));  // two blocks of rows of A
    // Columns that repeat each other: the determinant counts them once.
    list.push_back(Case<ChannelCapacity>(
        {}, {.name = "correlated",
             .in = {values({64, 8}, {1, -2, 0.5, 3, -0.25, 1.5, -1, 0.125, 2, -3, 0.75}), values({1}, {0.5})}}));
    list.push_back(
        Case<ChannelCapacity>({}, {.name = "far_from_zero", .in = {normal({50, 5}, 300, 1), values({1}, {1})}}));
    list.push_back(Case<ChannelCapacity>({}, {.name = "silent_channel", .in = {normal({50, 5}), values({1}, {1000})}}));
    list.push_back(make(4096, 512, DType::f32, 0, false, true));
    list.push_back(make(4096, 512, DType::f32, 0, true, true));
    return list;
  }
};

}  // namespace dr
