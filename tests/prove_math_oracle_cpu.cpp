// The oracle of prove_math: the elementary functions in double-double arithmetic, D lanes at a time. It shares the
// vector types with math.h and nothing else: other reductions, other tables (from MPFR), Taylor series.
//
// A double-double operation below errs by less than 2^-100 of its result, a table entry by 2^-106, a truncated series
// by less than 2^-95; a function takes a few dozen operations, so it is good to about 2^-94 before cancellation.
// expm1 and tanh subtract 1 from an exponential no nearer to 1 than 2^-22 and 2^-12: 2^-72. sin and cos know x mod
// pi/2 to 2^-102 absolutely, and it is never below 2^-33 for a float: 2^-69. Hence the promised 2^-64, which
// prove_math also measures.

#include <cstdint>

#include "tests/prove_math.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {
namespace {

using T = OracleTables;

struct Pair {
  f64v hi, lo;
};

DR_INLINE Pair quick_two_sum(f64v a, f64v b) {  // |a| >= |b|
  const f64v s = a + b;
  return {s, b - (s - a)};
}
DR_INLINE Pair two_sum(f64v a, f64v b) {
  const f64v s = a + b, bb = s - a;
  return {s, (a - (s - bb)) + (b - bb)};
}
DR_INLINE Pair two_product(f64v a, f64v b) {
  const f64v p = a * b;
  return {p, fma(a, b, -p)};
}
DR_INLINE Pair splat_pair(DoubleDouble d) { return {splat64(d.hi), splat64(d.lo)}; }
DR_INLINE Pair operator-(Pair a) { return {-a.hi, -a.lo}; }
DR_INLINE Pair operator+(Pair a, Pair b) {
  Pair s = two_sum(a.hi, b.hi);
  const Pair t = two_sum(a.lo, b.lo);
  s = quick_two_sum(s.hi, s.lo + t.hi);
  return quick_two_sum(s.hi, s.lo + t.lo);
}
DR_INLINE Pair operator+(Pair a, f64v b) {
  const Pair s = two_sum(a.hi, b);
  return quick_two_sum(s.hi, s.lo + a.lo);
}
DR_INLINE Pair operator*(Pair a, Pair b) {
  const Pair p = two_product(a.hi, b.hi);
  return quick_two_sum(p.hi, p.lo + fma(a.hi, b.lo, a.lo * b.hi));
}
DR_INLINE Pair operator*(Pair a, f64v b) {
  const Pair p = two_product(a.hi, b);
  return quick_two_sum(p.hi, fma(a.lo, b, p.lo));
}
DR_INLINE Pair operator/(Pair a, Pair b) {  // three quotient digits
  const f64v q1 = a.hi / b.hi;
  Pair r = a + -(b * q1);
  const f64v q2 = r.hi / b.hi;
  r = r + -(b * q2);
  return quick_two_sum(q1, q2) + r.hi / b.hi;
}
DR_INLINE Pair select(i64v mask, Pair a, Pair b) { return {mask ? a.hi : b.hi, mask ? a.lo : b.lo}; }

DR_INLINE f64v nearest(f64v v) {  // |v| < 2^51
  const f64v magic = splat64(0x1.8p52);
  return (v + magic) - magic;
}

// Lanes in memory, to fill or read one by one.
struct Lanes {
  double v[D];
};
DR_INLINE Lanes lanes(f64v v) { return bits<Lanes>(v); }
DR_INLINE f64v vector(const Lanes& v) { return bits<f64v>(v); }

// at(i) for each of the D lanes.
template <class F>
DR_INLINE Pair gather(F&& at) {
  Lanes hi, lo;
  for (int i = 0; i < D; i++) {
    const DoubleDouble& d = at(i);
    hi.v[i] = d.hi;
    lo.v[i] = d.lo;
  }
  return {vector(hi), vector(lo)};
}
DR_INLINE Pair gather(const DoubleDouble* table, f64v index) {  // integers given as doubles
  const Lanes at = lanes(index);
  return gather([&](int i) -> const DoubleDouble& { return table[int64_t(at.v[i])]; });
}

// x = n / 256 + r exactly, |r| <= 2^-9: the table times a Taylor series to r^9.
DR_INLINE Pair exp_of(const T& t, f64v x) {
  const f64v n = nearest(x * splat64(T::kExpStep));
  const f64v r = x - n * splat64(1.0 / T::kExpStep);
  f64v h = splat64(1.0 / 362880);
  for (double c : {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120}) h = fma(h, r, splat64(c));
  Pair p = splat_pair(t.twenty_fourth) + h * r;
  p = p * r + splat_pair(t.sixth);
  p = p * r + splat64(0.5);
  p = p * r + splat64(1);
  p = p * r + splat64(1);
  return p * gather(t.exp.data() + T::kExpRange * T::kExpStep, n);
}

// y = 2^k m, m in [0.75, 1.5): log y = k ln 2 + log c + 2 atanh((m - c) / (m + c)) with c the nearest n / 128.
DR_INLINE Pair log_of(const T& t, Pair y) {
  const u64v b = bits<u64v>(y.hi);
  const u64v scaled = b + 0x0008000000000000u;  // carries into the exponent for mantissas from 1.5 on
  const u64v exponent = (scaled >> 52) & 0x7ff;
  const f64v k = bits<f64v>(exponent | 0x4330000000000000u) - splat64(0x1p52 + 1023);
  const f64v inverse = bits<f64v>((2046 - exponent) << 52);  // 2^-k
  const Pair m{y.hi * inverse, y.lo * inverse};
  const f64v n = nearest(m.hi * splat64(T::kLogStep)), c = n * splat64(1.0 / T::kLogStep);
  const Pair s = (quick_two_sum(m.hi - c, m.lo)) / (m + c);
  const Pair u = s * s;
  f64v h = splat64(1.0 / 13);
  for (double d : {1.0 / 11, 1.0 / 9, 1.0 / 7}) h = fma(h, u.hi, splat64(d));
  Pair p = splat_pair(t.fifth) + h * u.hi;
  p = p * u + splat_pair(t.third);
  p = p * u + splat64(1);
  p = p * s;
  p = Pair{p.hi + p.hi, p.lo + p.lo} + gather(t.log.data(), n);
  return splat_pair(t.ln2) * k + p;
}

// |x| 2/pi modulo 4 in integers: 24 bits of x times the 128 digits of 2/pi that matter.
struct Reduced {
  int quadrant;
  double hi, lo;  // in quarter turns, |hi| <= 1/2
};
inline Reduced reduce(const T& t, float x) {
  const uint32_t b = __builtin_bit_cast(uint32_t, x) & 0x7fffffff;
  const uint64_t mantissa = (b & 0x7fffff) | 0x800000;           // |x| = mantissa * 2^exponent
  const int exponent = int(b >> 23) - 150, first = T::kPiZeros + exponent - 2;
  auto word = [&](int bit) {
    const unsigned long long* w = t.two_over_pi.data() + bit / 64;
    return bit % 64 == 0 ? w[0] : w[0] << (bit % 64) | w[1] >> (64 - bit % 64);
  };
  using U = unsigned __int128;
  const U digits = U(word(first)) << 64 | word(first + 64);
  const U turns = digits * mantissa;  // units of 2^-126 quarter turns; four turns wrap round
  const U rounded = turns + (U(1) << 125);
  const __int128 rest = static_cast<__int128>(turns << 2) >> 2;
  __int128 f = rest;  // in [-2^125, 2^125)
  const double hi = double(f);
  f -= static_cast<__int128>(hi);
  return {int(rounded >> 126), hi * 0x1p-126, double(f) * 0x1p-126};
}

// sin(|x|) with turn 0, cos(|x|) with turn 1.
inline Pair sin_of(const T& t, const float* x, int turn) {
  Lanes hi, lo, odd, negative;
  for (int i = 0; i < D; i++) {
    const Reduced part = reduce(t, x[i]);
    const int q = part.quadrant + turn;
    hi.v[i] = part.hi;
    lo.v[i] = part.lo;
    odd.v[i] = q & 1;
    negative.v[i] = q & 2;
  }
  const Pair r = quick_two_sum(vector(hi), vector(lo)) * splat_pair(t.half_pi);
  const f64v n = nearest(r.hi * splat64(T::kSinStep));
  const Pair d = r + -(n * splat64(1.0 / T::kSinStep)), u = d * d;
  f64v h = splat64(-1.0 / 39916800);
  for (double c : {1.0 / 362880, -1.0 / 5040}) h = fma(h, u.hi, splat64(c));
  Pair s = splat_pair(t.hundred_twentieth) + h * u.hi;
  s = s * u + -splat_pair(t.sixth);
  s = s * u + splat64(1);
  s = s * d;
  h = splat64(-1.0 / 3628800);
  for (double c : {1.0 / 40320, -1.0 / 720}) h = fma(h, u.hi, splat64(c));
  Pair c = splat_pair(t.twenty_fourth) + h * u.hi;
  c = c * u + splat64(-0.5);
  c = c * u + splat64(1);
  const Pair st = gather(t.sin.data() + T::kSinRange, n), ct = gather(t.cos.data() + T::kSinRange, n);
  const i64v cosine = vector(odd) != 0.0;
  const Pair y = select(cosine, ct, st) * c + select(cosine, -st, ct) * s;
  return select(vector(negative) != 0.0, -y, y);
}

// Taylor series round the nearest n / 32, |d| <= 1/64.
DR_INLINE Pair erf_of(const T& t, f64v x) {  // x >= 0
  const f64v n = nearest(x * splat64(T::kErfStep)), d = x - n * splat64(1.0 / T::kErfStep);
  const Lanes row = lanes(n);
  auto coefficient = [&](int k) {
    return gather([&](int i) -> const DoubleDouble& { return t.erf[size_t(row.v[i])][size_t(k)]; });
  };
  f64v h = coefficient(T::kErfTerms - 1).hi;
  for (int k = T::kErfTerms - 2; k >= T::kErfPairs; k--) h = fma(h, d, coefficient(k).hi);
  Pair p = coefficient(T::kErfPairs - 1) + h * d;
  for (int k = T::kErfPairs - 2; k >= 0; k--) p = p * d + coefficient(k);
  return p;
}

DR_INLINE f64v abs64(f64v v) { return bits<f64v>(bits<u64v>(v) & 0x7fffffffffffffffu); }

// The first terms of the series, for |x| below small_below(f): the next term is less than 2^-64 of the result.
DR_INLINE Pair small_argument(Function f, const T& t, f64v x) {
  const f64v square = x * x, one = splat64(1);
  switch (f) {
    case Function::exp: return quick_two_sum(one, x);
    case Function::expm1: return quick_two_sum(x, square * fma(x, splat64(1.0 / 6), splat64(0.5)));
    case Function::log1p: return quick_two_sum(x, square * fma(x, splat64(1.0 / 3), splat64(-0.5)));
    case Function::tanh: return quick_two_sum(x, -x * square * splat64(1.0 / 3));
    case Function::sin: return quick_two_sum(x, -x * square * splat64(1.0 / 6));
    case Function::cos: return quick_two_sum(one, splat64(-0.5) * square);
    case Function::erf: {
      const Pair linear = splat_pair(t.two_over_sqrt_pi) * x;
      return linear + -(linear.hi * square * splat64(1.0 / 3));
    }
    default: __builtin_unreachable();
  }
}
DR_INLINE float small_below(Function f) {
  switch (f) {
    case Function::exp: return 0x1p-33f;
    case Function::expm1:
    case Function::log1p: return 0x1p-22f;
    case Function::tanh:
    case Function::sin:
    case Function::cos: return 0x1p-16f;
    case Function::erf: return 0x1p-17f;
    default: return 0;
  }
}

// For x from small_below(f) on; `floats` are the same D numbers.
DR_INLINE Pair evaluate(Function f, const T& t, f64v x, const float* floats) {
  const f64v one = splat64(1), size = abs64(x), sign = x < 0.0 ? -one : one;
  switch (f) {
    case Function::exp: return exp_of(t, x);
    case Function::expm1: return exp_of(t, x) + -one;
    case Function::tanh: {
      const Pair e = exp_of(t, size + size);
      return (e + -one) / (e + one) * sign;
    }
    case Function::rsqrt: {  // one Newton step from a double, its residual computed exactly
      const f64v y = one / sqrt(x);
      const Pair residual = -(two_product(y, y) * x) + one;
      return quick_two_sum(y, y * (splat64(0.5) * residual.hi));
    }
    case Function::log: return log_of(t, Pair{x, f64v{}});
    case Function::log1p: return log_of(t, two_sum(one, x));
    case Function::sin: return sin_of(t, floats, 0) * sign;
    case Function::cos: return sin_of(t, floats, 1);
    case Function::erf: return erf_of(t, size) * sign;
  }
  __builtin_unreachable();
}

}  // namespace

void oracle(Function f, const OracleTables& tables, const float* x, double* hi, double* lo, size_t n) {
  const float small = small_below(f);
  for (size_t i = 0; i < n; i += D) {
    Lanes v, is_small;
    float large[D];  // the inputs with the small ones replaced
    int smalls = 0;
    for (int j = 0; j < D; j++) {
      const float xj = x[i + size_t(j)];
      const bool s = __builtin_fabsf(xj) < small;
      v.v[j] = double(xj);
      is_small.v[j] = s;
      large[j] = s ? 0.5f : xj;
      smalls += s;
    }
    Pair y{};
    if (smalls > 0) y = small_argument(f, tables, vector(v));
    if (smalls < D) {
      Lanes l;
      for (int j = 0; j < D; j++) l.v[j] = double(large[j]);
      y = select(vector(is_small) != 0.0, y, evaluate(f, tables, vector(l), large));
    }
    std::memcpy(hi + i, &y.hi, sizeof y.hi);
    std::memcpy(lo + i, &y.lo, sizeof y.lo);
  }
}

}  // namespace dr::DR_ISA
