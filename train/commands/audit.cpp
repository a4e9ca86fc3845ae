// audit: every case of every op against its double reference and across instruction sets, threads and batches; then the
// same checks with faults put in. audit diff: the first difference between two ledgers.

#include <cmath>
#include <cstdio>
#include <limits>

#include "io/file.h"
#include "io/nearest.h"
#include "kernels/core/backends.h"
#include "kernels/core/philox.h"
#include "kernels/harness/bench.h"
#include "kernels/harness/check.h"
#include "runtime/runtime.h"
#include "train/commands/command.h"

namespace dr::cli {

namespace {

using harness::CheckOptions;
using harness::Report;
using harness::TestCase;
using nlohmann::json;

struct AuditOptions {
  Common common;
  std::string op, name;
  double tolerance_scale = 1;
  int schedules = 2;
};

std::vector<TestCase> selected_cases(const std::string& op, const std::string& name) {
  std::vector<TestCase> list;
  std::vector<std::string> ops, names;
  for (TestCase& c : harness::all_cases()) {
    if (ops.empty() || ops.back() != c.op->name()) ops.emplace_back(c.op->name());
    if (!op.empty() && c.op->name() != op) continue;
    if (c.spec.bench) continue;
    names.push_back(c.spec.name);
    if (name.empty() || c.spec.name == name) list.push_back(std::move(c));
  }
  if (list.empty() && names.empty())
    fail("unknown op '{}'; the nearest is '{}' (dreamroad --list-ops prints all)", op, nearest(op, ops));
  CHECK(!list.empty(), "unknown case '{}'; the nearest is '{}'", name, nearest(name, names));
  return list;
}

// JSON has no infinity: a ratio that is not finite becomes the largest double.
double finite(double v) { return std::isfinite(v) ? v : std::numeric_limits<double>::max(); }

json to_json(const Report& r, const CheckOptions& o, const Common& common) {
  json targets = json::array();
  for (const harness::Target& t : o.targets) targets.push_back(t.label());
  return {{"op", r.op},
          {"case", r.name},
          {"device", common.device},
          {"math", common.math},
          {"targets", targets},
          {"threads", o.threads},
          {"error_over_bound", finite(r.error_over_bound)},
          {"gradient", r.gradient},
          {"gradient_error_over_bound", finite(r.gradient_over_bound)},
          {"threads_equal", r.threads_equal},
          {"batch_equal", r.batch_equal},
          {"device_equal", r.device_equal},
          {"memory_ok", r.memory_ok},
          {"ok", r.ok()},
          {"failures", r.failures}};
}

// Runs every case once more and writes the hash of each of its tensors, so that two machines can be compared by audit
// diff.
void write_ledger(const std::vector<TestCase>& cases, const Common& common) {
  Runtime runtime(common.runtime());
  LedgerWriter ledger(common.ledger);
  ledger.begin_step(0);
  for (const TestCase& c : cases)
    harness::run_case(
        c, runtime.context().backend, runtime.context().threads(), common.seed, [&](const harness::CallTensors& t) {
          LedgerCall call{c.id(), false, {}};
          auto add = [&](Names names, Views views, Role role) {
            for (size_t i = 0; i < views.size(); i++)
              if (views[i].present())
                call.tensors.push_back(
                    {std::string(names[i]), role, views[i].dtype, views[i].sizes, runtime.hash(views[i])});
          };
          add(c.op->in_names(), t.in, Role::input);
          add(c.op->out_names(), t.out, Role::output);
          add(c.op->out_grad_names(), t.out_grad, Role::output_gradient);
          add(c.op->grad_names(), t.grad, Role::gradient);
          ledger.add(call);
        });
  std::printf("ledger root %s\n", ledger.end_step().c_str());
  ledger.close();
}

// Runs every case once more under the profiler: a roofline table, and with --out a trace.
void profile(const std::vector<TestCase>& cases, const Common& common) {
  Runtime runtime(common.runtime());
  runtime.profiler.emplace();
  Context ctx = runtime.context();
  ctx.op_id = kReferenceOpId;
  for (const TestCase& c : cases) {
    ctx.leaves = c.spec.samples;
    harness::run_case(c, ctx.backend, ctx.threads(), common.seed, [&](const harness::CallTensors& t) {
      runtime.forward(*c.op, ctx, t.in, t.out);
      if (c.op->differentiable()) runtime.backward(*c.op, ctx, t.in, t.out, t.out_grad, t.grad);
    });
  }
  ThreadPool pool(common.threads);
  std::printf("%s", runtime.profiler->table(harness::measure_peaks(ctx.backend, pool)).c_str());
  if (!common.out.empty()) {
    create_folder(common.out);
    write_file(common.out + "/trace.json", runtime.profiler->chrome_trace());
  }
}

int audit(const AuditOptions& options) {
  const DeviceKind kind = parse_device(options.common.device);
  const Backend asked = options.common.backend(), first = kind == DeviceKind::cpu ? asked : best_cpu_backend();
  CheckOptions check;
  check.targets = {first};
  const MathTier math = parse_math(options.common.math, kind);
  if (kind == DeviceKind::simt) {
    for (const harness::Target& t : harness::emulator_targets(options.schedules, math)) check.targets.push_back(t);
  } else if (kind != DeviceKind::cpu) {
    check.targets.push_back({asked, math});
  } else {
    for (Backend b : cpu_backends())
      if (b != first) check.targets.push_back(b);
  }
  if (options.common.threads > 0) check.threads = {1, options.common.threads};
  check.tolerance_scale = options.tolerance_scale;
  check.seed = options.common.seed;
  const std::vector<TestCase> cases = selected_cases(options.op, options.name);

  if (!options.common.quiet)
    std::printf("%-22s %5s  %10s  %10s  %-8s %-8s %-8s %-8s %s\n", "op", "cases", "err/bound", "grad/bound", "threads",
                "batch", kind == DeviceKind::cpu ? "isa" : "device", "memory", "faults caught");
  json ops = json::array();
  int failed = 0, injected = 0, caught = 0, op_count = 0;
  std::vector<std::string> messages;
  for (size_t i = 0; i < cases.size();) {
    const std::string op(cases[i].op->name());
    double error = 0, gradient = 0;
    bool threads = true, batch = true, device = true, memory = true, differentiable = cases[i].op->differentiable();
    const size_t begin = i;
    for (; i < cases.size() && cases[i].op->name() == op; i++) {
      const Report r = harness::check_case(cases[i], check);
      ops.push_back(to_json(r, check, options.common));
      error = std::max(error, r.error_over_bound), gradient = std::max(gradient, r.gradient_over_bound);
      threads &= r.threads_equal, batch &= r.batch_equal, device &= r.device_equal, memory &= r.memory_ok;
      failed += !r.ok();
      messages.insert(messages.end(), r.failures.begin(), r.failures.end());
    }
    int op_injected = 0, op_caught = 0;
    for (harness::Fault fault : harness::kFaults)
      for (size_t k = begin; k < i; k++) {
        if (!harness::applies(fault, cases[k], check)) continue;
        CheckOptions faulty = check;
        faulty.fault = fault;
        faulty.threads = {2};
        op_injected++;
        if (harness::check_case(cases[k], faulty).ok())
          messages.push_back(cases[k].id() + ": the injected fault " + std::string(name_of(fault)) + " was not caught");
        else
          op_caught++;
        break;
      }
    injected += op_injected, caught += op_caught, op_count++;
    auto equal = [](bool v) { return v ? "equal" : "DIFFER"; };
    if (!options.common.quiet)
      std::printf("%-22s %5zu  %10.3f  %10s  %-8s %-8s %-8s %-8s %d/%d\n", op.c_str(), i - begin, error,
                  differentiable ? format("{:.3f}", gradient).c_str() : "-", equal(threads), equal(batch),
                  check.targets.size() > 1 ? equal(device) : "-", memory ? "ok" : "DAMAGED", op_caught, op_injected);
    std::fflush(stdout);
  }
  for (const std::string& m : messages) std::printf("FAILED %s\n", m.c_str());
  std::printf("%d ops, %zu cases, %d failed; %d faults injected, %d caught\n", op_count, cases.size(), failed, injected,
              caught);
  if (!options.common.ledger.empty()) write_ledger(cases, options.common);
  if (options.common.profile) profile(cases, options.common);
  if (!options.common.json.empty()) {
    const json result = {{"ops", ops},
                         {"summary",
                          {{"ops", op_count},
                           {"cases", cases.size()},
                           {"failed", failed},
                           {"faults_injected", injected},
                           {"faults_caught", caught}}}};
    write_file(options.common.json, result.dump(1) + "\n");
  }
  return failed == 0 && caught == injected ? kDone : kCheckFailed;
}

}  // namespace

void add_audit(Command& app, Body& body) {
  auto options = std::make_shared<AuditOptions>();
  Command command = app.add_subcommand("audit", "check every op: reference, gradients, equal bits, injected faults");
  add_common(command, options->common);
  command.add_option("--op", options->op, "this op only");
  command.add_option("--case", options->name, "this case only");
  command.add_option("--tolerance-scale", options->tolerance_scale, "scale every bound; 0 prints the true residuals")
      .show_default();
  command.add_option("--schedules", options->schedules,
                     "device simt: seeded orders of threads, beside their own order and its reverse").range(0, 1000).show_default();

  Command diff = command.add_subcommand("diff", "the first difference between two ledgers");
  auto files = std::make_shared<std::pair<std::string, std::string>>();
  auto json_path = std::make_shared<std::string>();
  diff.add_option("A", files->first, "ledger").required();
  diff.add_option("B", files->second, "ledger").required();
  diff.add_option("--json", *json_path, "write the result as JSON to this file");

  command.callback([=, &body] {
    if (!diff.parsed()) body = [options] { return audit(*options); };
  });
  diff.callback([=, &body] {
    body = [files, json_path] {
      const LedgerDiff d = dr::diff(read_ledger(files->first), read_ledger(files->second));
      std::printf("%s\n", d.identical ? "identical" : d.what.c_str());
      if (!json_path->empty()) {
        json result = {{"identical", d.identical}};
        if (!d.identical)
          result["first"] = {
              {"step", d.step}, {"op", d.op}, {"call", d.call}, {"tensor", d.tensor}, {"element", d.element}};
        write_file(*json_path, result.dump(1) + "\n");
      }
      return d.identical ? int(kDone) : int(kCheckFailed);
    };
  });
}

int list_ops() {
  std::printf("%-26s %-10s %-9s %5s\n", "op", "tier", "gradient", "cases");
  const std::vector<TestCase> cases = harness::all_cases();
  for (size_t i = 0; i < cases.size();) {
    size_t n = 0, begin = i;
    for (; i < cases.size() && cases[i].op->name() == cases[begin].op->name(); i++) n += !cases[i].spec.bench;
    const auto& op = *cases[begin].op;
    std::printf("%-26s %-10s %-9s %5zu\n", std::string(op.name()).c_str(), "canonical",
                op.differentiable() ? "yes" : "no", n);
  }
  return kDone;
}

}  // namespace dr::cli
