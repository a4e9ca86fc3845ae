// bench: the op table timed, models and files beside it, with the peaks of the same run.

#include <cstdio>
#include <ctime>

#include "io/file.h"
#include "io/nearest.h"
#include "kernels/harness/bench.h"
#include "train/commands/bench_files.h"
#include "train/commands/bench_models.h"
#include "train/commands/command.h"

namespace dr::cli {

namespace {

using harness::Pass;
using harness::TestCase;
using harness::Timing;
using nlohmann::json;

struct BenchOptions {
  Common common;
  std::string op, name, pass;
  double seconds = 0.5;
};

constexpr const char* kModelPass = "step";  // forward and backward; of files: whole

std::string processor() {
  std::FILE* f = std::fopen("/proc/cpuinfo", "r");
  char line[512];
  std::string model = "unknown";
  while (f && std::fgets(line, sizeof line, f))
    if (const std::string s = line; s.starts_with("model name")) {
      model = s.substr(s.find(':') + 2, s.size() - s.find(':') - 3);
      break;
    }
  if (f) std::fclose(f);
  return model;
}

int bench(const BenchOptions& o) {
  CHECK(o.common.ledger.empty(), "bench records no ledger; accepted: audit --ledger FILE");
  const Backend backend = o.common.backend();
  ThreadPool pool(o.common.threads);
  std::vector<TestCase> cases;
  std::vector<ModelCase> models, files;
  std::vector<std::string> ops;
  const auto wanted = [&](std::string_view op, const std::string& name) {
    ops.emplace_back(op);
    return (o.op.empty() || op == o.op) && (o.name.empty() || name == o.name);
  };
  for (TestCase& c : harness::all_cases()) {
    if (c.spec.bench && wanted(c.op->name(), c.spec.name)) cases.push_back(std::move(c));
  }
  for (const ModelCase& c : model_cases())
    if (wanted(c.op, c.name)) models.push_back(c);
  for (const ModelCase& c : file_cases())
    if (wanted(c.op, c.name)) files.push_back(c);
  CHECK(!cases.empty() || !models.empty() || !files.empty(), "no bench case matches op '{}', case '{}'; the nearest op is '{}'", o.op,
        o.name, nearest(o.op, ops));

  const Peaks peaks = harness::measure_peaks(backend, pool);
  const std::string how = format("{} threads, {}: GEMM 1536^3, and a copy of 256 MiB counted read plus written",
                                 pool.size(), name_of(backend));
  std::printf("%s, %s\npeaks: %.3f TFLOP/s, %.1f GB/s\n", processor().c_str(), how.c_str(), peaks.tflops, peaks.gbps);
  json results = json::array();
  const auto report = [&](const std::string& op, const std::string& name, const char* pass, const Timing& t) {
    const double compute = t.tflops / peaks.tflops, memory = t.gbps / peaks.gbps;
    std::printf("%-22s %-30s %-8s | %10.1f us, %.1f-%.1f | %7.3f TFLOP/s %5.1f %% | %6.1f GB/s %5.1f %%", op.c_str(),
                name.c_str(), pass, t.median_us, t.p10_us, t.p90_us, t.tflops, 100 * compute, t.gbps, 100 * memory);
    results.push_back({{"op", op},
                       {"case", name},
                       {"pass", pass},
                       {"device", o.common.device},
                       {"math", o.common.math},
                       {"isa", name_of(backend)},
                       {"threads", pool.size()},
                       {"median_us", t.median_us},
                       {"p10_us", t.p10_us},
                       {"p90_us", t.p90_us},
                       {"tflops", t.tflops},
                       {"gbps", t.gbps},
                       {"fraction_of_peak", std::max(compute, memory)},
                       {"memory_bytes", t.memory_bytes},
                       {"repetitions", t.repetitions},
                       {"sets", t.sets},
                       {"peer", nullptr},
                       {"ratio_to_peer", nullptr}});
  };
  for (const TestCase& c : cases)
    for (Pass pass : {Pass::forward, Pass::backward}) {
      const char* pass_name = pass == Pass::forward ? "forward" : "backward";
      if (pass == Pass::backward && !c.differentiable()) continue;
      if (!o.pass.empty() && o.pass != pass_name) continue;
      const Timing t = harness::time_case(c, pass, backend, pool, o.seconds, o.common.seed);
      report(std::string(c.op->name()), c.spec.name, pass_name, t);
      std::printf("\n");
      std::fflush(stdout);
    }
  for (const ModelCase& c : models) {
    if (!o.pass.empty() && o.pass != kModelPass) continue;
    const ModelTiming t = time_model(c, o.common.runtime(), peaks, o.seconds, o.common.seed);
    report(c.op, c.name, kModelPass, t.step);
    results.back()["resident_bytes"] = t.resident_bytes;
    results.back()["targets"] = c.targets;
    std::printf(" | peak %.1f MB (resident %.1f)\n", t.step.memory_bytes * 1e-6, t.resident_bytes * 1e-6);
    if (o.common.profile) std::printf("%s", t.profile.c_str());
    std::fflush(stdout);
  }
  for (const ModelCase& c : files) {
    if (!o.pass.empty() && o.pass != kModelPass) continue;
    const FileTiming t = time_files(c, o.common.runtime(), o.seconds, o.common.seed);
    report(c.op, c.name, kModelPass, t.timing);
    if (t.frames_per_s > 0) {
      results.back()["frames_per_s"] = t.frames_per_s;
      std::printf(" | %.0f frames/s", t.frames_per_s);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  if (!o.common.json.empty()) {
    const json result = {{"processor", processor()},
                         {"peaks", {{"tflops", peaks.tflops}, {"gbps", peaks.gbps}, {"how", how}}},
                         {"results", results}};
    write_file(o.common.json, result.dump(1) + "\n");
  }
  return kDone;
}

}  // namespace

void add_bench(Command& app, Body& body) {
  auto options = std::make_shared<BenchOptions>();
  Command command = app.add_subcommand("bench", "time the op table, with peaks measured in the same run");
  add_common(command, options->common);
  command.add_option("--op", options->op, "this op only");
  command.add_option("--case", options->name, "this case only");
  command.add_option("--pass", options->pass, "forward or backward of ops, or step of models and files, only")
      .one_of({"forward", "backward", "step"});
  command.add_option("--seconds", options->seconds, "time spent on each line")
      .show_default()
      .range(0.0, 600.0);
  command.callback([options, &body] { body = [options] { return bench(*options); }; });
}

}  // namespace dr::cli
