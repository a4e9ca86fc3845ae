#pragma once
// Models that bench times beside the ops: a block's step on a tape, and the world model (bench_world.h).

#include "kernels/harness/bench.h"
#include "runtime/runtime.h"

namespace dr::cli {

struct ModelCase {
  std::string op, name;  // "transformer_block", "gpt,F=15,...": as an op and its case
  bool whole = false;    // memory is all that there is: weights, optimiser, caches and inputs too
  int64_t targets = 1;   // what a call makes or learns from; times are of a call
};

struct ModelTiming {
  harness::Timing step;       // memory_bytes: the most that the arena held at a time in the first call, beside
                              // parameters, inputs and the output gradient unless it is the whole
  double resident_bytes = 0;  // the same from outside: growth of the process's resident memory
  std::string profile;        // roofline table of one step
};

std::vector<ModelCase> model_cases();
ModelTiming time_model(const ModelCase& c, const RuntimeOptions& options, const Peaks& peaks, double seconds,
                       uint64_t seed);

}  // namespace dr::cli
