#pragma once
// The request `gemm m= n= k= layout=nn|nt|tn|tt`, for any library: C (M,N) = op(A) op(B), fp32, row-major, no bias.
// layout's letters say whether A and B are stored transposed: n: A (M,K), B (K,N); t: A (K,M), B (N,K).

#include "bench/peers/peer.h"

namespace peer {

struct Gemm {
  int64_t m, n, k;
  bool ta, tb;

  static Gemm parse(const Request& r) {
    std::string layout = r.text("layout", "nn");
    if (layout.size() != 2 || layout.find_first_not_of("nt") != std::string::npos)
      throw std::runtime_error("gemm: layout is '" + layout + "', accepted are nn, nt, tn, tt");
    Gemm g{r.integer("m"), r.integer("n"), r.integer("k"), layout[0] == 't', layout[1] == 't'};
    if (g.m == 0 || g.n == 0 || g.k == 0) throw std::runtime_error("gemm: m, n and k must be positive");
    return g;
  }
  int64_t lda() const { return ta ? m : k; }
  int64_t ldb() const { return tb ? k : n; }
  int64_t input_floats() const { return m * k + k * n; }
  double flops() const { return 2.0 * double(m) * double(n) * double(k); }
  double bytes() const { return 4.0 * double(input_floats() + m * n); }
};

using GemmCall = std::function<void(const float* a, const float* b, float* c)>;

// Times `call`, after comparing a few elements with a sum in double: a peer that computes something else is no peer.
inline Timing measure_gemm(const Request& r, const Gemm& g, const GemmCall& call) {
  const float* in = inputs().floats(r.sets() * g.input_floats());
  float* out = outputs().floats(r.sets() * g.m * g.n);
  auto a = [&](int64_t s) { return in + s * g.input_floats(); };
  auto b = [&](int64_t s) { return a(s) + g.m * g.k; };
  auto c = [&](int64_t s) { return out + s * g.m * g.n; };

  call(a(0), b(0), c(0));
  for (int64_t i = 0; i < 64; i++) {
    int64_t row = i * 7919 % g.m, column = i * 104729 % g.n;
    double sum = 0, magnitude = 0;
    for (int64_t j = 0; j < g.k; j++) {
      double x = g.ta ? a(0)[j * g.m + row] : a(0)[row * g.k + j];
      double y = g.tb ? b(0)[column * g.k + j] : b(0)[j * g.n + column];
      sum += x * y;
      magnitude += std::abs(x * y);
    }
    // Any order of summation stays within (k + 2) u sum |terms|; libraries come nowhere near it.
    if (!(std::abs(c(0)[row * g.n + column] - sum) <= double(g.k + 2) * 0x1p-24 * magnitude))
      throw std::runtime_error("gemm: wrong result at (" + std::to_string(row) + "," + std::to_string(column) + ")");
  }
  return measure(r, [&](int64_t s) { call(a(s), b(s), c(s)); });
}

}  // namespace peer
