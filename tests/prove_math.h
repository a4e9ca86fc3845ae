#pragma once
// What prove_math.cpp and its per-instruction-set parts share: the list of functions, the kernels under test, and the
// double-double oracle with the tables that MPFR fills for it.

#include <array>
#include <cstddef>
#include <vector>

namespace dr {

enum class Function { exp, tanh, rsqrt, log, sin, cos, expm1, log1p, erf };
inline constexpr int kFunctions = 9;

// y[i] = f(x[i]) for n elements, n a multiple of 16; indexed by Function.
using ArrayFunction = void (*)(const float* x, float* y, size_t n);
using ProvedKernels = std::array<ArrayFunction, kFunctions>;

struct DoubleDouble {
  double hi, lo;  // hi is the sum rounded to double
};

struct OracleTables {
  static constexpr int kExpStep = 256, kExpRange = 120;   // exp(n / 256) for |n| <= 120 * 256
  static constexpr int kLogStep = 128, kLogEnd = 193;     // log(n / 128) for n in [0, 193), entry 0 unused
  static constexpr int kSinStep = 64, kSinRange = 52;     // sin, cos(n / 64) for |n| <= 52
  static constexpr int kErfStep = 32, kErfEnd = 129;      // Taylor series of erf at n / 32, n in [0, 129)
  static constexpr int kErfTerms = 18, kErfPairs = 10;    // of which the first 10 with both parts
  static constexpr int kPiZeros = 64, kPiWords = 6;       // 2/pi: 64 zero bits (the units), then 320 digits

  std::vector<DoubleDouble> exp, log, sin, cos;
  std::vector<std::array<DoubleDouble, kErfTerms>> erf;
  DoubleDouble ln2, half_pi, two_over_sqrt_pi, third, sixth, fifth, twenty_fourth, hundred_twentieth;
  std::array<unsigned long long, kPiWords> two_over_pi;
};

// hi[i] + lo[i] is f(x[i]) to a relative error below 2^-64, n a multiple of 16. x is finite, not zero, in the domain of
// f, and |x| <= 110 for exp and expm1, 10 for tanh, 4 for erf.
using Oracle = void(Function f, const OracleTables& tables, const float* x, double* hi, double* lo, size_t n);

namespace portable {
ProvedKernels proved_kernels();
Oracle oracle;
}  // namespace portable
namespace avx2 {
ProvedKernels proved_kernels();
Oracle oracle;
}  // namespace avx2
namespace avx512 {
ProvedKernels proved_kernels();
Oracle oracle;
}  // namespace avx512

}  // namespace dr
