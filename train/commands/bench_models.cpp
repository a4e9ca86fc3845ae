#include "train/commands/bench_models.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "kernels/rotary_table/rotary_table.h"
#include "model/transformer_block.h"
#include "train/commands/bench_world.h"

namespace dr::cli {

namespace {

// A line of /proc/self/status in bytes; 0 where there is none.
double status_bytes(const char* name) {
  double kib = 0;
  if (std::FILE* f = std::fopen("/proc/self/status", "r")) {
    char line[256];
    const size_t n = std::strlen(name);
    while (std::fgets(line, sizeof line, f))
      if (std::strncmp(line, name, n) == 0 && line[n] == ':') std::sscanf(line + n + 1, "%lf", &kib);
    std::fclose(f);
  }
  return kib * 1024;
}

// Sets VmHWM back to VmRSS.
void reset_resident_peak() {
  if (std::FILE* f = std::fopen("/proc/self/clear_refs", "w")) {
    std::fputs("5", f);
    std::fclose(f);
  }
}

// One block of preset `gpt` on a batch of one: random weights, gates and biases included.
class BlockStep {
 public:
  static constexpr int64_t kFrames = 15, kTokens = 128, kChannels = 768, kHeads = 12, kHidden = 3072, kRows = 8;

  BlockStep(Runtime& r, uint64_t seed)
      : runtime_(r), parameters_(r),
        block_(parameters_, "block", {.channels = kChannels, .heads = kHeads, .hidden = kHidden,
                                      .mask = {.tokens_per_frame = int(kTokens)}}) {
    auto fill = [&](const Tensor& t, const std::string& what, double mean, double deviation) {
      harness::fill(t, normal(t.sizes(), mean, deviation), "transformer_block", what, seed);
      return t;
    };
    for (const Parameter& p : parameters_) fill(p.value, p.name, p.name.ends_with("norm.weight") ? 1 : 0, 0.02);
    const int64_t length = kFrames * kTokens;
    x_ = fill(r.empty(DType::f32, {1, length, kChannels}), "x", 0, 1);
    condition_ = fill(r.empty(DType::f32, {1, kFrames, kChannels}), "condition", 0, 1);
    dy_ = fill(r.empty(DType::f32, {1, length, kChannels}), "dy", 0, 1);
    std::vector<int32_t> place;  // frame, row, column
    for (int64_t i = 0; i < length; i++) {
      const int64_t s = i % kTokens;
      place.insert(place.end(), {int32_t(i / kTokens), int32_t(s / (kTokens / kRows)), int32_t(s % (kTokens / kRows))});
    }
    const auto table = evaluate_all(r, RotaryTable{.share = {8, 12, 12}}, r.from(place, {1, length, 3}));
    cos_ = table[0], sin_ = table[1];
  }

  void operator()() {
    Tape tape(runtime_);
    parameters_.watch(tape);
    tape.watch(x_);
    tape.watch(condition_);
    const Tensor y = block_.apply(tape, x_, condition_, cos_, sin_);
    tape.backward(y, dy_);
  }

 private:
  Runtime& runtime_;
  Parameters parameters_;
  TransformerBlock block_;
  Tensor x_, condition_, dy_, cos_, sin_;
};

}  // namespace

std::vector<ModelCase> model_cases() {
  std::vector<ModelCase> list = world_cases();
  const std::string block = format("gpt,F={},S={},C={},H={},M={},f32", BlockStep::kFrames, BlockStep::kTokens,
                                   BlockStep::kChannels, BlockStep::kHeads, BlockStep::kHidden);
  list.insert(list.begin(), {"transformer_block", block});
  return list;
}

ModelTiming time_model(const ModelCase& c, const RuntimeOptions& options, const Peaks& peaks, double seconds,
                       uint64_t seed) {
  Runtime r(options);
  CHECK(r.device().host_visible(), "bench: models are timed on the CPU only so far");
  ModelTiming t;
  double resident = 0;
  size_t held = 0;
  const auto begin_memory = [&] {
    reset_resident_peak();
    resident = status_bytes("VmRSS");
    r.arena()->reset_peak();
    held = r.arena()->stats().live;
  };
  begin_memory();
  std::function<void()> step;
  if (c.op == "transformer_block") step = [block = std::make_shared<BlockStep>(r, seed)] { (*block)(); };
  else step = make_world_case(r, c, seed);
  if (!c.whole) begin_memory();
  step();
  t.step.memory_bytes = double(r.arena()->stats().peak - held);
  t.resident_bytes = std::max(0.0, status_bytes("VmHWM") - resident);

  r.profiler.emplace();
  step();
  Cost cost;
  for (const Profiler::Row& row : r.profiler->rows()) cost.flops += row.flops, cost.bytes_read += row.bytes;
  t.profile = r.profiler->table(peaks);
  r.profiler.reset();

  std::vector<double> us = harness::time_calls(seconds, step);
  const double memory = t.step.memory_bytes;
  t.step = harness::summarise(us, cost);
  t.step.memory_bytes = memory;
  return t;
}

}  // namespace dr::cli
