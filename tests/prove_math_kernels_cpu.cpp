// The functions of kernels/core/math.h as array functions, for prove_math to call.

#include "tests/prove_math.h"

#include "kernels/core/math.h"

namespace dr::DR_ISA {
namespace {

template <class F>
void run(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; i += W) store(y + i, F()(load(x + i)));
}

// Through sincos, whose two halves are sin and cos.
struct Sin {
  f32v operator()(f32v x) const {
    f32v s, c;
    sincos(x, s, c);
    return s;
  }
};
struct Cos {
  f32v operator()(f32v x) const {
    f32v s, c;
    sincos(x, s, c);
    return c;
  }
};
struct Exp { f32v operator()(f32v x) const { return exp(x); } };
struct Tanh { f32v operator()(f32v x) const { return tanh(x); } };
struct Rsqrt { f32v operator()(f32v x) const { return rsqrt(x); } };
struct Log { f32v operator()(f32v x) const { return log(x); } };
struct Expm1 { f32v operator()(f32v x) const { return expm1(x); } };
struct Log1p { f32v operator()(f32v x) const { return log1p(x); } };
struct Erf { f32v operator()(f32v x) const { return erf(x); } };

}  // namespace

ProvedKernels proved_kernels() {
  return {run<Exp>, run<Tanh>, run<Rsqrt>, run<Log>, run<Sin>, run<Cos>, run<Expm1>, run<Log1p>, run<Erf>};
}

}  // namespace dr::DR_ISA
