#pragma once
// What an op is. A kernel is a function, an op is a struct, and everything else iterates over the list of ops
// (kernels/op_list.h). An op struct holds settings only: what changes between steps (learning rate, tau, step, dt,
// counters) is an input tensor, since a captured graph would freeze a field.
//
//   struct In, Out, OutGrad, Grad   Views by name; OutGrad names the differentiable outputs, Grad the inputs that get a
//                                   gradient, unless they hold integers. A View may be absent where the contract says
//                                   so; a Grad field that is absent is not computed. An output that is not in OutGrad
//                                   is saved for backward, and so are those that Out::saved names; backward sees of
//                                   the others their shape alone.
//   In::shared, Out::shared         names of those that all samples share (weights, scalars). Every other input and
//                                   output carries whole samples along axis 0. The gradient of a shared input is a sum
//                                   over the batch, kept per leaf: Grad shape = (Context::leaves, shape of the input).
//   infer(in)                       dtype and sizes of every output (rank 0: absent); throws dr::Error on a bad call
//   scratch_bytes(in, threads)      scratch that forward and backward need (the larger of the two)
//   device_scratch_bytes(in)        the same for device kernels, where it is not scratch_bytes(in, 1)
//   forward<B>, backward<B>         overwrite their outputs; read only In, saved Out and OutGrad
//   reference(in, out, bound)       the formula in double: every floating View is f64. bound = k * sum |terms| of each
//                                   output element, in units of u = 2^-24; the k is justified beside it. An integer
//                                   output is exact unless its bound is written, in whole units. Infinity: the element
//                                   lies too close to a discontinuity to be decided (a tenth of them at most)
//   gradient_k(in)                  k for gradients: the harness takes sum |terms| from central differences of the
//                                   reference
//   fast_factor(in)                 of an op with kernels of the fast tier: how many times the bounds of the canonical
//                                   results, outputs' and gradients', theirs are; justified beside it
//   cost(in), backward_cost(in)     FLOPs and compulsory traffic
//   cases()                         ordinary, awkward, empty, adversarial; and those that bench times

#include <array>
#include <concepts>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/view.h"

namespace dr {

// ---- names of the Views of a struct ----

template <class... S>
constexpr std::array<std::string_view, sizeof...(S)> fields(S... names) {
  return {std::string_view(names)...};
}

// Pointers to the Views of an In, Out, OutGrad or Grad, in the order of its names.
template <class S>
auto views(S& s) {
  constexpr size_t n = std::remove_cv_t<S>::names.size();
  static_assert(sizeof(S) == n * sizeof(View), "names must list every View of the struct");
  auto list = [](auto&... v) { return std::array{&v...}; };
  if constexpr (n == 1) { auto& [a] = s; return list(a); }
  else if constexpr (n == 2) { auto& [a, b] = s; return list(a, b); }
  else if constexpr (n == 3) { auto& [a, b, c] = s; return list(a, b, c); }
  else if constexpr (n == 4) { auto& [a, b, c, d] = s; return list(a, b, c, d); }
  else if constexpr (n == 5) { auto& [a, b, c, d, e] = s; return list(a, b, c, d, e); }
  else if constexpr (n == 6) { auto& [a, b, c, d, e, f] = s; return list(a, b, c, d, e, f); }
  else if constexpr (n == 7) { auto& [a, b, c, d, e, f, g] = s; return list(a, b, c, d, e, f, g); }
  else if constexpr (n == 8) { auto& [a, b, c, d, e, f, g, h] = s; return list(a, b, c, d, e, f, g, h); }
  else { static_assert(n <= 8, "more than 8 Views: extend views()"); }
}

// ---- shapes, cost ----

struct TensorSpec {
  DType dtype = DType::f32;
  Sizes sizes;  // rank 0: absent
};
using Shapes = std::vector<TensorSpec>;

struct Cost {
  double flops = 0;          // multiplies, adds, divisions and elementary functions count one each
  double bytes_read = 0;     // compulsory: every operand once
  double bytes_written = 0;
};

// Measured peaks of the machine; 0: not known.
struct Peaks {
  double tflops = 0, gbps = 0;
};

// The cost of an op that reads each of `read` and writes each of `written` once.
template <class R, class S>
Cost traffic(double flops, const R& read, const S& written) {
  Cost c{flops, 0, 0};
  for (const View* v : views(read)) c.bytes_read += double(v->bytes());
  for (const TensorSpec& t : written)
    if (t.sizes.rank) c.bytes_written += double(t.sizes.count()) * double(size_of(t.dtype));
  return c;
}
// Backward: reads the inputs, saved outputs and output gradients (about the outputs' size), writes gradients like the
// inputs.
template <class R>
Cost backward_traffic(double flops, const R& in, const Shapes& out) {
  Cost f = traffic(flops, in, out);
  return {flops, f.bytes_read + f.bytes_written, f.bytes_read};
}

// ---- test cases ----

enum class Fill : uint8_t { normal, uniform, integers, values, adversarial };

// How a test fills one input. Data is a pure function of (case name, field, index).
struct Input {
  Sizes sizes;
  DType dtype = DType::f32;
  Fill fill = Fill::normal;
  double a = 0, b = 1;               // normal: mean, deviation; uniform: [a, b); integers: a..b inclusive
  std::vector<double> list;          // values: taken in turn
  int64_t pad = 0;                   // gap in elements after each row of the last axis: the View is strided

  Input as(DType t) const;
  Input padded(int64_t elements) const;
};

Input normal(Sizes s, double mean = 0, double deviation = 1);
Input uniform(Sizes s, double low, double high);
Input integers(Sizes s, int64_t low, int64_t high);
Input values(Sizes s, std::vector<double> list);
// Magnitudes from 2^-20 to 2^20 of either sign, zeros of either sign, repeats.
Input adversarial(Sizes s);
Input absent();

struct CaseSpec {
  std::string name;            // "R=5,C=33,bf16": with the op's name it identifies the case
  std::vector<Input> in;       // one per field of In
  int samples = 1;             // samples along axis 0 of the inputs that are not shared; 1: no slices to compare
  bool gradient = true;        // compare gradients with central differences (false where the data hit a kink)
  bool bench = false;          // timed by bench, not tested: too large for the double reference
  int leaves = 1;              // leaves in the timed call; tests use one leaf per sample
};

template <class O>
struct Case : CaseSpec {
  O op{};
  Case(O op_, CaseSpec spec) : CaseSpec(std::move(spec)), op(op_) {}
};

// ---- the concepts ----

template <class O>
concept Op = requires(const O op, Context& ctx, const typename O::In& in, const typename O::Out& out, int threads) {
  { O::name } -> std::convertible_to<std::string_view>;
  { O::In::names[0] } -> std::convertible_to<std::string_view>;
  { O::Out::names[0] } -> std::convertible_to<std::string_view>;
  { op.infer(in) } -> std::same_as<Shapes>;
  { op.scratch_bytes(in, threads) } -> std::same_as<size_t>;
  { op.template forward<Backend::avx2>(ctx, in, out) } -> std::same_as<void>;
  { op.reference(in, out, out) } -> std::same_as<void>;
  { op.cost(in) } -> std::same_as<Cost>;
  { O::cases() } -> std::same_as<std::vector<Case<O>>>;
};

template <class O>
concept DifferentiableOp = Op<O> && requires(const O op, Context& ctx, const typename O::In& in,
                                             const typename O::Out& out, const typename O::OutGrad& dy,
                                             const typename O::Grad& grad) {
  { O::OutGrad::names[0] } -> std::convertible_to<std::string_view>;
  { O::Grad::names[0] } -> std::convertible_to<std::string_view>;
  { op.template backward<Backend::avx2>(ctx, in, out, dy, grad) } -> std::same_as<void>;
  { op.gradient_k(in) } -> std::same_as<double>;
  { op.backward_cost(in) } -> std::same_as<Cost>;
};

// Names of S's Views that all samples share; none unless S says so.
template <class S>
constexpr bool is_shared(std::string_view field) {
  if constexpr (requires { S::shared; }) {
    for (std::string_view s : S::shared)
      if (s == field) return true;
  }
  return false;
}

// Whether backward reads an output.
template <class O>
constexpr bool is_saved(std::string_view field) {
  if constexpr (requires { O::Out::saved; })
    for (std::string_view s : O::Out::saved)
      if (s == field) return true;
  if constexpr (requires { O::OutGrad::names; })
    for (std::string_view s : O::OutGrad::names)
      if (s == field) return false;
  return true;
}

// ---- small checks that most contracts need ----

void expect_float(const View& v, std::string_view what);
void expect_sizes(const View& v, const Sizes& sizes, std::string_view what);
void expect_f32(const View& v, const Sizes& sizes, std::string_view what);  // f32 (f64 in a call of reference)

}  // namespace dr
