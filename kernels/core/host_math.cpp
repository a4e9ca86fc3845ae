#include "kernels/core/host_math.h"

// One lane of the portable kernels: every instruction set gives the same bits, and this one runs everywhere.
#define DR_ISA portable
#define DR_ISA_portable
#include "kernels/core/math.h"

namespace dr::canonical {

float exp(float x) { return portable::exp(x); }
float expm1(float x) { return portable::expm1(x); }
float log(float x) { return portable::log(x); }
float log1p(float x) { return portable::log1p(x); }
float tanh(float x) { return portable::tanh(x); }
float erf(float x) { return portable::erf(x); }
float sin(float x) { return portable::sin(x); }
float cos(float x) { return portable::cos(x); }
float rsqrt(float x) { return portable::rsqrt(x); }

float pow_int(float base, uint64_t n) {
  float result = 1, power = base;
  while (true) {
    if (n & 1) result *= power;
    n >>= 1;
    if (n == 0) return result;
    power *= power;
  }
}

}  // namespace dr::canonical
