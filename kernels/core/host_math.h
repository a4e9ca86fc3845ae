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

// The angle of (x, y), in (-pi, pi]. Not correctly rounded: plain IEEE double operations in a fixed order, hence the same
// bits everywhere, with an error below 3 units in the last place of a double. atan2(+-0, x > 0) is +-0, atan2(0, 0) is 0.
double atan2(double y, double x);

// base^n by repeated squaring, each product rounded to float: over the bits of n from the lowest, result *= power where
// the bit is set, then power *= power. base^0 is 1.
float pow_int(float base, uint64_t n);

}  // namespace dr::canonical
