#include "train/commands/command.h"

#include <algorithm>

namespace dr::cli {

void add_common(CLI::App& command, Common& c) {
  command.add_option("--device", c.device, "where kernels run: cpu, simt, cuda or hip")->capture_default_str();
  command.add_option("--math", c.math, "canonical (the same bits everywhere) or fast (GPU only)")
      ->capture_default_str();
  command.add_option("--isa", c.isa,
                     "CPU instruction set: avx512, avx2 or portable (default: the best this processor runs)");
  command.add_option("--threads", c.threads, "CPU threads (default: one per core); never changes a result")
      ->check(CLI::Range(0, 1024));
  command.add_option("--seed", c.seed, "seed of every random number")->capture_default_str();
  command.add_option("--out", c.out, "folder for what the command writes");
  command.add_option("--json", c.json, "write the result as JSON to this file");
  command.add_option("--ledger", c.ledger, "record a hash of every tensor of every op call in this file");
  command.add_flag("--profile", c.profile, "print a roofline table; with --out also trace.json for Perfetto");
  command.add_flag("--quiet", c.quiet, "print the result only");
  command.add_option("--config", c.config, "TOML file with any of these options; the command line wins");
}

std::vector<std::string> arguments(const std::vector<std::string>& command_line) {
  std::vector<std::string> args, files;
  for (size_t i = 0; i < command_line.size(); i++) {
    const std::string& arg = command_line[i];
    if (arg == "--config" && i + 1 < command_line.size()) files.push_back(command_line[++i]);
    else if (arg.starts_with("--config=")) files.push_back(arg.substr(9));
    else args.push_back(arg);
  }
  const std::vector<std::string> given = args;
  for (const std::string& file : files)
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(file)) {
      const std::string option = "--" + item.fullname();
      bool overridden = false;
      for (const std::string& g : given) overridden |= g == option || g.starts_with(option + "=");
      if (overridden) continue;
      for (const std::string& value : item.inputs)
        if (value == "true") args.push_back(option);
        else if (value != "false") args.push_back(option + "=" + value);
    }
  std::reverse(args.begin(), args.end());
  return args;
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
