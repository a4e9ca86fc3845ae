#pragma once
// Files and frames that bench times beside the ops: what a training run waits for when it is not computing.

#include "kernels/harness/bench.h"
#include "runtime/runtime.h"
#include "train/commands/bench_models.h"

namespace dr::cli {

struct FileTiming {
  harness::Timing timing;  // bytes: of the file or the frames, counted once
  double frames_per_s = 0; // of what draws frames
};

// segment_read: one minute of 256 x 128 frames with depth, every byte read, from the system's cache. inspect: the table of a
// safetensors file of 1 GiB. simulate: frames of the built-in world with depth, 256 x 128.
std::vector<ModelCase> file_cases();
FileTiming time_files(const ModelCase& c, const RuntimeOptions& options, double seconds, uint64_t seed);

}  // namespace dr::cli
