// Proves that kernels/core/math.h rounds correctly: every function, every fp32 input, every instruction set compiled
// in that this processor has.
//
//   prove_math [function ...] [--isa NAME] [--stride N] [--bf16] [--threads N]
//
// For each input the double-double oracle (prove_math_oracle_cpu.cpp) gives f(x) to a relative error below 2^-64. Where
// that interval holds no midpoint between two floats the rounding is decided; otherwise MPFR decides. The oracle is
// itself compared with MPFR: its error on a million pseudo-random inputs per function, where one larger than promised
// is a failure, and its rounding on one input in 4096 (on all bf16 inputs).
//
// --isa NAME (portable, avx2, avx512) restricts the proof to one. Beside a vector unit, `portable`, which executes the
// same IEEE operations one lane at a time, takes every 16th block of inputs; --isa portable takes all. --stride N takes
// every N-th bit pattern (an odd N visits all mantissas); --bf16 takes the 65,536 inputs of bf16.
// Exit status: 0 proven, 1 misrounded or oracle too inaccurate, 2 usage.

#include <mpfr.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <string_view>
#include <thread>

#include "tests/prove_math.h"

namespace {

using namespace dr;

constexpr double kPromised = 0x1p-64;  // relative error of the oracle

enum class Symmetry { none, odd, even };

struct FunctionInfo {
  std::string_view name;
  Symmetry symmetry;
  int (*mpfr)(mpfr_t, const mpfr_t, mpfr_rnd_t);
  float lowest, highest;  // magnitudes between which the oracle is validated
};

constexpr FunctionInfo kInfo[kFunctions] = {
    {"exp", Symmetry::none, mpfr_exp, 0x1p-149f, 100},
    {"tanh", Symmetry::odd, mpfr_tanh, 0x1p-149f, 10},
    {"rsqrt", Symmetry::none, mpfr_rec_sqrt, 0x1p-149f, 0x1p127f},
    {"log", Symmetry::none, mpfr_log, 0x1p-149f, 0x1p127f},
    {"sin", Symmetry::odd, mpfr_sin, 0x1p-149f, 0x1p127f},
    {"cos", Symmetry::even, mpfr_cos, 0x1p-149f, 0x1p127f},
    {"expm1", Symmetry::none, mpfr_expm1, 0x1p-149f, 100},
    {"log1p", Symmetry::none, mpfr_log1p, 0x1p-149f, 0x1p127f},
    {"erf", Symmetry::odd, mpfr_erf, 0x1p-149f, 4},
};

// One MPFR variable. fp32's exponent range holds only inside float_range, as subnormal rounding needs it.
struct Real {
  mpfr_t v;
  explicit Real(int precision) { mpfr_init2(v, precision); }
  ~Real() { mpfr_clear(v); }
  Real(const Real&) = delete;
  Real& operator=(const Real&) = delete;
};

float correctly_rounded_by_mpfr(Function f, float x) {
  const mpfr_exp_t lowest = mpfr_get_emin(), highest = mpfr_get_emax();
  Real in(24), out(24);
  mpfr_set_flt(in.v, x, MPFR_RNDN);
  mpfr_set_emin(-148);
  mpfr_set_emax(128);
  const int ternary = kInfo[int(f)].mpfr(out.v, in.v, MPFR_RNDN);
  mpfr_subnormalize(out.v, ternary, MPFR_RNDN);
  const float y = mpfr_get_flt(out.v, MPFR_RNDN);
  mpfr_set_emin(lowest);
  mpfr_set_emax(highest);
  return y;
}

// ---- tables ----

DoubleDouble pair_of(mpfr_t v) {  // v is consumed
  const double hi = mpfr_get_d(v, MPFR_RNDN);
  mpfr_sub_d(v, v, hi, MPFR_RNDN);
  return {hi, mpfr_get_d(v, MPFR_RNDN)};
}

DoubleDouble quotient(long numerator, unsigned long denominator, int (*f)(mpfr_t, const mpfr_t, mpfr_rnd_t) = nullptr) {
  Real v(200);
  mpfr_set_si(v.v, numerator, MPFR_RNDN);
  mpfr_div_ui(v.v, v.v, denominator, MPFR_RNDN);
  if (f) f(v.v, v.v, MPFR_RNDN);
  return pair_of(v.v);
}

OracleTables make_tables() {
  using T = OracleTables;
  T t;
  for (int n = -T::kExpRange * T::kExpStep; n <= T::kExpRange * T::kExpStep; n++)
    t.exp.push_back(quotient(n, T::kExpStep, mpfr_exp));
  t.log.push_back({0, 0});
  for (int n = 1; n < T::kLogEnd; n++) t.log.push_back(quotient(n, T::kLogStep, mpfr_log));
  for (int n = -T::kSinRange; n <= T::kSinRange; n++) {
    t.sin.push_back(quotient(n, T::kSinStep, mpfr_sin));
    t.cos.push_back(quotient(n, T::kSinStep, mpfr_cos));
  }
  t.ln2 = quotient(2, 1, mpfr_log);
  t.third = quotient(1, 3);
  t.fifth = quotient(1, 5);
  t.sixth = quotient(1, 6);
  t.twenty_fourth = quotient(1, 24);
  t.hundred_twentieth = quotient(1, 120);
  Real a(400), b(400), c(400), d(400);
  mpfr_const_pi(a.v, MPFR_RNDN);
  mpfr_div_2ui(b.v, a.v, 1, MPFR_RNDN);
  t.half_pi = pair_of(b.v);
  mpfr_sqrt(b.v, a.v, MPFR_RNDN);
  mpfr_ui_div(b.v, 2, b.v, MPFR_RNDN);
  t.two_over_sqrt_pi = pair_of(b.v);

  mpfr_ui_div(b.v, 2, a.v, MPFR_RNDN);  // the digits of 2/pi, 64 at a time
  t.two_over_pi[0] = 0;
  for (int i = 1; i < T::kPiWords; i++) {
    mpfr_mul_2ui(b.v, b.v, 64, MPFR_RNDN);
    mpfr_floor(c.v, b.v);
    mpfr_sub(b.v, b.v, c.v, MPFR_RNDN);
    unsigned long long word = 0;
    for (int half = 0; half < 2; half++) {
      mpfr_div_2ui(d.v, c.v, half == 0 ? 32 : 0, MPFR_RNDN);
      mpfr_floor(d.v, d.v);
      word = word << 32 | mpfr_get_ui(d.v, MPFR_RNDN);
      mpfr_mul_2ui(d.v, d.v, half == 0 ? 32 : 0, MPFR_RNDN);
      mpfr_sub(c.v, c.v, d.v, MPFR_RNDN);
    }
    t.two_over_pi[size_t(i)] = word;
  }

  // f0 = erf, f1 = 2/sqrt(pi) exp(-x^2), f(k+2) = -2x f(k+1) - 2k f(k); the coefficient is f(k) / k!
  for (int n = 0; n < T::kErfEnd; n++) {
    Real x(300), f0(300), f1(300), f2(300), scratch(300);
    mpfr_set_ui(x.v, static_cast<unsigned long>(n), MPFR_RNDN);
    mpfr_div_ui(x.v, x.v, T::kErfStep, MPFR_RNDN);
    mpfr_erf(f0.v, x.v, MPFR_RNDN);
    mpfr_const_pi(scratch.v, MPFR_RNDN);
    mpfr_rec_sqrt(scratch.v, scratch.v, MPFR_RNDN);
    mpfr_mul_ui(scratch.v, scratch.v, 2, MPFR_RNDN);
    mpfr_sqr(f1.v, x.v, MPFR_RNDN);
    mpfr_neg(f1.v, f1.v, MPFR_RNDN);
    mpfr_exp(f1.v, f1.v, MPFR_RNDN);
    mpfr_mul(f1.v, f1.v, scratch.v, MPFR_RNDN);
    std::array<DoubleDouble, T::kErfTerms> row;
    for (int k = 0; k < T::kErfTerms; k++) {
      mpfr_fac_ui(scratch.v, static_cast<unsigned long>(k), MPFR_RNDN);
      mpfr_div(scratch.v, f0.v, scratch.v, MPFR_RNDN);
      row[size_t(k)] = pair_of(scratch.v);
      mpfr_mul(f2.v, x.v, f1.v, MPFR_RNDN);
      mpfr_mul_ui(scratch.v, f0.v, static_cast<unsigned long>(k), MPFR_RNDN);
      mpfr_add(f2.v, f2.v, scratch.v, MPFR_RNDN);
      mpfr_mul_si(f2.v, f2.v, -2, MPFR_RNDN);
      mpfr_swap(f0.v, f1.v);
      mpfr_swap(f1.v, f2.v);
    }
    t.erf.push_back(row);
  }
  return t;
}

// ---- rounding the oracle's pair ----

uint32_t bits_of(float v) { return std::bit_cast<uint32_t>(v); }
float float_of(uint32_t v) { return std::bit_cast<float>(v); }

// The float next to `v` away from or towards zero as a double; past the largest float it is 2^128.
double neighbour(float v, bool up) {
  const float n = std::nextafterf(v, up ? INFINITY : -INFINITY);
  return std::isinf(n) ? std::copysign(0x1p128, double(n)) : double(n);
}

// True and the rounded value if all numbers within kPromised of hi + lo round alike.
bool decide(double hi, double lo, float& rounded) {
  // hi differs from the sum, and the sum from f(x), by no more than two units of its last place. In the normal range
  // a midpoint has the 29 bits that narrowing drops equal to 1 0...0, so most values are far from one.
  const uint64_t b = std::bit_cast<uint64_t>(hi), dropped = b & 0x1fffffff;
  const double size = std::fabs(hi);
  rounded = float(hi);
  if (size >= 0x1p-126 && size < 0x1p127 && dropped - (0x10000000 - 8) > 16) return true;
  if (size > 0x1.000001p128 || size < 0x1p-151) return true;
  const double v = std::isinf(rounded) ? std::copysign(0x1p128, hi) : double(rounded);
  const float inside = std::isinf(rounded) ? std::copysign(std::numeric_limits<float>::max(), rounded) : rounded;
  const double margin = size * kPromised;
  double above = 0.5 * (v + neighbour(inside, true)), below = 0.5 * (v + neighbour(inside, false));
  if (std::isinf(rounded)) {  // only the midpoint between the largest float and 2^128 matters
    const double limit = std::copysign(0x1.ffffffp127, hi);
    above = hi > 0 ? 0x1p1000 : limit;
    below = hi > 0 ? limit : -0x1p1000;
  }
  // hi is near both midpoints' binade, so the differences are exact
  const double to_above = (above - hi) - lo, to_below = (hi - below) + lo;
  if (std::fabs(to_above) <= margin || std::fabs(to_below) <= margin) return false;
  if (to_above < 0) rounded = float(neighbour(inside, true));
  if (to_below < 0) rounded = float(neighbour(inside, false));
  return true;
}

// ---- inputs whose result is stated rather than computed ----

// True for zeros, infinities, NaN, inputs outside the domain (C99 annex F), and where a monotonic function is past its
// last change in float: exp(100) > 2^129, exp(-110) < 2^-151, 1 - tanh(10) < 2^-27, 1 - erf(4) < 2^-25.
bool stated(Function f, float x, float& y) {
  const float inf = INFINITY, nan = NAN;
  const bool zero = x == 0;
  y = nan;
  if (std::isnan(x)) return true;
  switch (f) {
    case Function::exp: y = zero ? 1 : x > 0 ? inf : 0; return zero || x > 100 || x < -110;
    case Function::expm1: y = zero ? x : x > 0 ? inf : -1; return zero || x > 100 || x < -110;
    case Function::tanh: y = zero ? x : std::copysign(1.f, x); return zero || x > 10 || x < -10;
    case Function::erf: y = zero ? x : std::copysign(1.f, x); return zero || x > 4 || x < -4;
    case Function::sin: y = zero ? x : nan; return zero || std::isinf(x);
    case Function::cos: y = zero ? 1 : nan; return zero || std::isinf(x);
    case Function::log: y = zero ? -inf : x < 0 ? nan : inf; return zero || x < 0 || std::isinf(x);
    case Function::log1p: y = zero ? x : x == -1 ? -inf : x < 0 ? nan : inf; return zero || x <= -1 || std::isinf(x);
    case Function::rsqrt: y = zero ? std::copysign(inf, x) : x < 0 ? nan : 0; return zero || x < 0 || std::isinf(x);
  }
  return true;
}

// ---- the proof of one function ----

struct Isa {
  std::string_view name;
  ProvedKernels kernels;
  uint64_t every = 1;  // of the blocks of inputs, the n-th only
};

struct Options {
  std::string_view isa;
  uint64_t stride = 1;
  bool bf16 = false;
  unsigned threads = 2;
};

struct Tally {
  std::atomic<uint64_t> inputs{0}, undecided{0}, misrounded{0};
  std::mutex print;
};

constexpr size_t kBlock = 4096;

struct Prover {
  Function f;
  const Options& options;
  const std::vector<Isa>& isas;
  Oracle* oracle;
  const OracleTables& tables;
  Tally tally;
  std::atomic<uint64_t> next{0};

  const FunctionInfo& info() const { return kInfo[int(f)]; }
  // Symmetric functions walk the magnitudes and check both signs; the others walk all bit patterns.
  uint64_t patterns() const {
    const uint64_t step = options.bf16 ? 65536 : options.stride;
    return ((uint64_t(1) << (info().symmetry == Symmetry::none ? 32 : 31)) + step - 1) / step;
  }

  void compare(const float* x, const float* expected, uint64_t first, size_t n) {
    alignas(64) float y[kBlock];
    for (const Isa& isa : isas) {
      if (!options.bf16 && first / kBlock % isa.every != 0) continue;
      isa.kernels[size_t(f)](x, y, kBlock);
      for (size_t i = 0; i < n; i++) {
        if (bits_of(y[i]) == bits_of(expected[i]) || (std::isnan(y[i]) && std::isnan(expected[i]))) continue;
        if (tally.misrounded++ < 20) {
          const std::lock_guard lock(tally.print);
          std::printf("  misrounded: %s(%a = 0x%08x) on %s: %a (0x%08x), correct %a (0x%08x)\n", info().name.data(),
                      double(x[i]), bits_of(x[i]), isa.name.data(), double(y[i]), bits_of(y[i]), double(expected[i]),
                      bits_of(expected[i]));
        }
      }
    }
  }

  void block(uint64_t first, size_t n) {
    alignas(64) float x[kBlock], safe[kBlock], expected[kBlock];
    alignas(64) double hi[kBlock], lo[kBlock];
    const uint64_t step = options.bf16 ? 65536 : options.stride;
    uint64_t undecided = 0;
    size_t computed = 0;
    for (size_t i = 0; i < kBlock; i++) {
      x[i] = float_of(i < n ? uint32_t((first + i) * step) : 0x3f800000u);
      const bool known = stated(f, x[i], expected[i]);
      safe[i] = known ? 0.5f : x[i];
      computed += !known;
    }
    if (computed != 0) {
      oracle(f, tables, safe, hi, lo, kBlock);
      for (size_t i = 0; i < n; i++) {
        if (bits_of(safe[i]) != bits_of(x[i])) continue;
        const bool decided = decide(hi[i], lo[i], expected[i]);
        if (decided && !options.bf16 && i != first / kBlock % kBlock) continue;
        const float by_mpfr = correctly_rounded_by_mpfr(f, x[i]);
        if (decided && bits_of(by_mpfr) != bits_of(expected[i])) {
          tally.misrounded++;
          std::printf("  the oracle and MPFR disagree on %s(%a)\n", info().name.data(), double(x[i]));
        }
        undecided += !decided;
        expected[i] = by_mpfr;
      }
    }
    compare(x, expected, first, n);
    if (info().symmetry != Symmetry::none) {
      for (size_t i = 0; i < kBlock; i++) {
        x[i] = -x[i];
        if (i < n && info().symmetry == Symmetry::odd) expected[i] = -expected[i];
      }
      compare(x, expected, first, n);
    }
    tally.inputs += n * (info().symmetry == Symmetry::none ? 1 : 2);
    tally.undecided += undecided;
  }

  void work() {
    const uint64_t end = patterns();
    for (uint64_t first; (first = next.fetch_add(kBlock)) < end;)
      block(first, size_t(end - first < kBlock ? end - first : kBlock));
    mpfr_free_cache();
  }
};

// Largest relative error of the oracle over `count` pseudo-random inputs from piece `piece` of the generator.
double oracle_error(Function f, Oracle* oracle, const OracleTables& tables, size_t count, uint64_t piece) {
  const FunctionInfo& info = kInfo[int(f)];
  uint64_t state = 0x9e3779b97f4a7c15u * (piece + 1);
  auto random = [&] {  // splitmix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  };
  const uint32_t low = bits_of(info.lowest), span = bits_of(info.highest) - low;
  alignas(64) float x[kBlock];
  alignas(64) double hi[kBlock], lo[kBlock];
  Real in(24), exact(200), found(200);
  double worst = 0;
  for (size_t done = 0; done < count; done += kBlock) {
    for (float& v : x) {
      float known;
      do {
        const uint64_t r = random();
        v = float_of((low + uint32_t((r & 0xffffffff) * span >> 32)) | (r >> 63 ? 0x80000000u : 0));
      } while (stated(f, v, known));
    }
    oracle(f, tables, x, hi, lo, kBlock);
    for (size_t i = 0; i < kBlock; i++) {
      mpfr_set_flt(in.v, x[i], MPFR_RNDN);
      info.mpfr(exact.v, in.v, MPFR_RNDN);
      mpfr_set_d(found.v, hi[i], MPFR_RNDN);
      mpfr_add_d(found.v, found.v, lo[i], MPFR_RNDN);
      mpfr_sub(found.v, found.v, exact.v, MPFR_RNDN);
      if (mpfr_zero_p(found.v)) continue;
      mpfr_div(found.v, found.v, exact.v, MPFR_RNDN);
      const double error = std::fabs(mpfr_get_d(found.v, MPFR_RNDN));
      if (!(error <= worst)) worst = error;  // NaN is kept
    }
  }
  mpfr_free_cache();
  return worst;
}

template <class F>
void on_threads(unsigned count, F&& f) {
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < count; i++) threads.emplace_back(f, i);
  f(0u);
  for (std::thread& t : threads) t.join();
}

bool prove(Function f, const Options& options, const std::vector<Isa>& isas, Oracle* oracle,
           const OracleTables& tables) {
  const auto start = std::chrono::steady_clock::now();
  const size_t samples = options.bf16 ? kBlock : (size_t(1) << 20) / options.threads;
  std::vector<double> errors(options.threads);
  on_threads(options.threads, [&](unsigned i) { errors[i] = oracle_error(f, oracle, tables, samples, i); });
  double worst = 0;
  for (double e : errors)
    if (!(e <= worst)) worst = e;
  Prover prover{f, options, isas, oracle, tables, {}, {}};
  on_threads(options.threads, [&](unsigned) { prover.work(); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const uint64_t misrounded = prover.tally.misrounded;
  const bool accurate = worst <= kPromised;
  std::printf("%-6s inputs %10llu  undecided %llu  oracle error 2^%.1f%s  misrounded %llu  %.1f s\n",
              kInfo[int(f)].name.data(), static_cast<unsigned long long>(prover.tally.inputs),
              static_cast<unsigned long long>(prover.tally.undecided), std::log2(worst), accurate ? "" : " (TOO LARGE)",
              static_cast<unsigned long long>(misrounded), seconds);
  std::fflush(stdout);
  return misrounded == 0 && accurate;
}

int usage(const char* what) {
  std::fprintf(stderr,
               "prove_math: %s\n"
               "usage: prove_math [function ...] [--isa NAME] [--stride N] [--bf16] [--threads N]\nfunctions:",
               what);
  for (const FunctionInfo& info : kInfo) std::fprintf(stderr, " %s", info.name.data());
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<Function> functions;
  for (int i = 1; i < argc; i++) {
    const std::string_view arg = argv[i];
    if (arg == "--bf16") {
      options.bf16 = true;
    } else if (arg == "--isa" && i + 1 < argc) {
      options.isa = argv[++i];
    } else if ((arg == "--stride" || arg == "--threads") && i + 1 < argc) {
      const long value = std::atol(argv[++i]);
      if (value < 1 || value > 1'000'000'000) return usage("a count must be at least 1");
      if (arg == "--stride") options.stride = uint64_t(value);
      else options.threads = unsigned(value);
    } else {
      int f = 0;
      while (f < kFunctions && kInfo[f].name != arg) f++;
      if (f == kFunctions) return usage("unknown argument");
      functions.push_back(Function(f));
    }
  }
  if (functions.empty())
    for (int f = 0; f < kFunctions; f++) functions.push_back(Function(f));

  std::vector<Isa> isas;
  Oracle* oracle = portable::oracle;
  isas.push_back({"portable", portable::proved_kernels()});
#ifdef DR_WITH_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    isas.push_back({"avx2", avx2::proved_kernels()});
    oracle = avx2::oracle;
  }
#endif
#ifdef DR_WITH_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    isas.push_back({"avx512", avx512::proved_kernels()});
    oracle = avx512::oracle;
  }
#endif
  if (!options.isa.empty()) std::erase_if(isas, [&](const Isa& isa) { return isa.name != options.isa; });
  if (isas.size() > 1 && isas[0].name == "portable") isas[0].every = 16;
  if (isas.empty()) return usage("this build and processor have no such instruction set");
  std::printf("instruction sets:");
  for (const Isa& isa : isas)
    std::printf(" %s%s", isa.name.data(), isa.every > 1 && !options.bf16 ? " (every 16th block)" : "");
  std::printf("; %s\n", options.bf16 ? "bf16 inputs" : options.stride == 1 ? "all inputs" : "a sample");
  std::fflush(stdout);

  const OracleTables tables = make_tables();
  bool proven = true;
  for (Function f : functions) proven &= prove(f, options, isas, oracle, tables);
  return proven ? 0 : 1;
}
