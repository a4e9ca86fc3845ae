#pragma once
// What is checked of every op, case, instruction set and thread count; and the faults that prove that the checks see.

#include <functional>

#include "kernels/core/simt/engine.h"
#include "kernels/harness/cases.h"

namespace dr::harness {

// What runs a call: a body of the kernels and, on the emulator, how it schedules threads.
struct Target {
  Backend backend;
  emulator::Settings simt{};
  MathTier math = MathTier::canonical;
  Target(Backend b, MathTier m = MathTier::canonical) : backend(b), math(m) {}
  Target(Backend b, const emulator::Settings& settings, MathTier m = MathTier::canonical)
      : backend(b), simt(settings), math(m) {}
  std::string label() const;  // "avx2"; "simt with 64 lanes in reverse order"; "cuda, fast"
};
// The emulator with 32 and 64 lanes, and for the fast tier as a Hopper and as none; threads in their order, in reverse, and in `seeds` other orders; two fills of shared
// memory.
std::vector<Target> emulator_targets(int seeds, MathTier math = MathTier::canonical);

// Errors put into a call on purpose. Each must make check_case report a failure.
enum class Fault : uint8_t {
  none,
  wrong_kernel,      // every element of the first output is 1 % off
  nan,               // one element of an output is NaN
  one_element,       // one element of an output is off by 1/32 of its tensor's largest
  unwritten,         // one element of an output keeps what was there before the call
  out_of_bounds,     // one byte is written behind an output
  thread_dependent,  // the last bit of one element differs when two threads run
  isa_dependent,     // ... when another instruction set or device runs
  batch_dependent,   // ... when the sample is alone in its batch
  wrong_gradient,    // every element of the first gradient is 1 % off
  dropped_gradient,  // a gradient is zero
};
inline constexpr Fault kFaults[] = {Fault::wrong_kernel,   Fault::nan,
                                    Fault::one_element,    Fault::unwritten,
                                    Fault::out_of_bounds,  Fault::thread_dependent,
                                    Fault::isa_dependent,  Fault::batch_dependent,
                                    Fault::wrong_gradient, Fault::dropped_gradient};
std::string_view name_of(Fault f);

struct CheckOptions {
  // The first, a CPU's, is compared with the reference, the others with the first. Where an op has kernels of the fast tier,
  // the targets of that tier are compared with the reference, within their own bound, and with each other.
  std::vector<Target> targets;
  std::vector<int> threads{1, 2, 3};
  double tolerance_scale = 1;  // 0 prints the true residuals
  uint64_t seed = 1;           // of the data
  Fault fault = Fault::none;
};

struct Report {
  std::string op, name;
  double error_over_bound = 0;     // worst output element: |y - reference| / bound
  double gradient_over_bound = 0;  // worst gradient element against central differences
  std::string gradient = "none";   // ok | failed | none (no gradient) | skipped (the case says so)
  bool threads_equal = true, batch_equal = true, device_equal = true, memory_ok = true;
  std::vector<std::string> failures;  // one line each: what, where, the values
  bool ok() const { return failures.empty(); }
};

Report check_case(const TestCase& c, const CheckOptions& options);
// That the other targets have the bits of the first, and no more.
Report check_equal(const TestCase& c, const CheckOptions& options);

// Runs a case once and shows its tensors: what audit records in a ledger.
struct CallTensors {
  Views in, out, out_grad, grad;
};
void run_case(const TestCase& c, Backend backend, int threads, uint64_t seed,
              const std::function<void(const CallTensors&)>& show);

// Whether a fault can show in this case (a gradient to drop, a batch to slice, a second target).
bool applies(Fault fault, const TestCase& c, const CheckOptions& options);

}  // namespace dr::harness
