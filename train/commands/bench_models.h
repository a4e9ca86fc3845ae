#pragma once
// Models that bench times beside the ops: whole steps on a tape.

#include "kernels/harness/bench.h"
#include "runtime/runtime.h"

namespace dr::cli {

struct ModelCase {
  std::string op, name;  // "transformer_block", "gpt,F=15,...": as an op and its case
};

struct ModelTiming {
  harness::Timing step;       // forward and backward; memory_bytes: the most that the arena held at a time, beside
                              // parameters, inputs and the output gradient
  double resident_bytes = 0;  // the same from outside: growth of the process's resident memory over its first step
  std::string profile;        // roofline table of one step
};

std::vector<ModelCase> model_cases();
ModelTiming time_model(const ModelCase& c, const RuntimeOptions& options, const Peaks& peaks, double seconds,
                       uint64_t seed);

}  // namespace dr::cli
