#pragma once
// Canonical elementary functions for host code that touches state: learning rates, powers of beta, fields of view, the
// simulator. Correctly rounded, hence the same bits on every machine, which the host's libm does not promise.

#include <cstdint>

namespace dr::canonical {

float exp(float x);
float expm1(float x);
float log(float x);
float log1p(float x);
float tanh(float x);
float erf(float x);
float sin(float x);
float cos(float x);
float rsqrt(float x);

// base^n by repeated squaring, each product rounded to float: over the bits of n from the lowest, result *= power where
// the bit is set, then power *= power. base^0 is 1.
float pow_int(float base, uint64_t n);

}  // namespace dr::canonical
