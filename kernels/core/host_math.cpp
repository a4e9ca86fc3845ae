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

namespace {

// For |t| <= tan(pi/8). Source of the coefficients: FreeBSD's s_atan.c (fdlibm), a polynomial for |t| <= 7/16.
double atan_near_zero(double t) {
  constexpr double c[] = {3.33333333333329318027e-01,  -1.99999999998764832476e-01, 1.42857142725034663711e-01,
                          -1.11111104054623557880e-01, 9.09088713343650656196e-02,  -7.69187620504482999495e-02,
                          6.66107313738753120669e-02,  -5.83357013379057348645e-02, 4.97687799461593236017e-02,
                          -3.65315727442169155270e-02, 1.62858201153657823623e-02};
  const double z = t * t;
  double sum = c[10];
  for (int i = 9; i >= 0; i--) sum = c[i] + z * sum;
  return t - t * (z * sum);
}

}  // namespace

double atan2(double y, double x) {
  constexpr double kPi = 3.14159265358979311600, kTanEighth = 0.41421356237309503;
  const double ay = __builtin_fabs(y), ax = __builtin_fabs(x), small = ay < ax ? ay : ax, large = ay < ax ? ax : ay;
  double angle = y != y || x != x ? y + x : 0;
  if (large > 0) {
    const double t = small == large ? 1 : small / large;  // both may be infinite
    angle = t > kTanEighth ? kPi / 4 + atan_near_zero((t - 1) / (t + 1)) : atan_near_zero(t);
    if (ay > ax) angle = kPi / 2 - angle;
  }
  if (__builtin_signbit(x) && large > 0) angle = kPi - angle;
  return __builtin_copysign(angle, y);
}

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
