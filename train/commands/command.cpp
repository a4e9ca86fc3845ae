#include "train/commands/command.h"

namespace dr::cli {

void add_common(Command& command, Common& c) {
  command.add_option("--device", c.device, "where kernels run: cpu, simt, cuda or hip").show_default();
  command.add_option("--math", c.math, "canonical (the same bits everywhere) or fast (GPU only)")
      .show_default();
  command.add_option("--isa", c.isa,
                     "CPU instruction set: avx512, avx2 or portable (default: the best this processor runs)");
  command.add_option("--threads", c.threads, "CPU threads (default: one per core); never changes a result")
      .range(0, 1024);
  command.add_option("--seed", c.seed, "seed of every random number").show_default();
  command.add_option("--out", c.out, "folder for what the command writes");
  command.add_option("--json", c.json, "write the result as JSON to this file");
  command.add_option("--ledger", c.ledger, "record a hash of every tensor of every op call in this file");
  command.add_flag("--profile", c.profile, "print a roofline table; with --out also trace.json for Perfetto");
  command.add_flag("--quiet", c.quiet, "print the result only");
  command.add_option("--config", c.config, "TOML file with any of these options; the command line wins");
}

Backend Common::backend() const {
  const RuntimeOptions o = runtime();
  return open_device(o.device, o.cpu_isa)->backend();
}

RuntimeOptions Common::runtime() const {
  const DeviceKind kind = parse_device(device);
  return {.device = kind, .cpu_isa = isa, .math = parse_math(math, kind), .threads = threads};
}

}  // namespace dr::cli
