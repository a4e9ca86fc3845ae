#pragma once
// Times one pass of one bench case, and the peaks that its figures are compared with.

#include <functional>

#include "kernels/harness/cases.h"

namespace dr::harness {

struct Timing {
  double median_us = 0, p10_us = 0, p90_us = 0;
  double tflops = 0, gbps = 0;  // from the op's cost
  double memory_bytes = 0;      // outputs, saved tensors, gradients and scratch: what the pass needs beside its inputs
  int repetitions = 0;
  int sets = 1;  // of operands, in rotation
};

enum class Pass : uint8_t { forward, backward };

// TFLOP/s of the best of a few canonical GEMMs of 1536^3; GB/s of memcpy over all threads, bytes read plus bytes
// written.
Peaks measure_peaks(Backend backend, ThreadPool& pool);

// Repeats the pass for about `seconds`, at least five times. Inputs that exceed the caches alternate between two sets.
Timing time_case(const TestCase& c, Pass pass, Backend backend, ThreadPool& pool, double seconds, uint64_t seed);

// Microseconds of each of as many calls as about `seconds` hold, at least five.
std::vector<double> time_calls(double seconds, const std::function<void()>& call);

// Median, percentiles and rates of calls that took `us`, which it sorts, and cost `cost` each.
Timing summarise(std::vector<double>& us, const Cost& cost);

}  // namespace dr::harness
