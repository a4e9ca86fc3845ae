#include "train/commands/command.h"

#include <algorithm>

#include "io/config.h"

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

namespace {

// The innermost subcommand that the command line names.
const CLI::App& named_command(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  for (const std::string& word : words)
    for (const CLI::App* sub : command->get_subcommands([&](const CLI::App* s) { return s->check_name(word); })) {
      command = sub;
      break;
    }
  return *command;
}

SettingKind kind_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return SettingKind::flag;
  const std::string type = option.get_type_name();
  if (type.starts_with("INT") || type.starts_with("UINT")) return SettingKind::integer;
  return type.starts_with("FLOAT") ? SettingKind::number : SettingKind::text;
}

// What the option itself refuses: CLI11 would, but it knows neither file nor line.
void check_value(const std::string& file, const ConfigValue& v, CLI::Option& option) {
  const auto refuse = [&](const std::string& why) { fail("{}:{}: {}: {}", file, v.line, v.key, why); };
  if (option.get_type_name().starts_with("UINT") && v.text.starts_with('-')) refuse(v.text + " is below 0");
  for (int i = 0;; i++) {
    const CLI::Validator* validator = nullptr;
    try {
      validator = option.get_validator(i);
    } catch (const CLI::OptionNotFound&) {
      return;
    }
    std::string text = v.text;
    if (const std::string why = (*validator)(text); !why.empty()) refuse(why);
  }
}

}  // namespace

std::vector<std::string> arguments(const CLI::App& app, const std::vector<std::string>& command_line) {
  std::vector<std::string> args, files;
  for (size_t i = 0; i < command_line.size(); i++) {
    const std::string& arg = command_line[i];
    if (arg == "--config" && i + 1 < command_line.size()) files.push_back(command_line[++i]);
    else if (arg.starts_with("--config=")) files.push_back(arg.substr(9));
    else args.push_back(arg);
  }
  CHECK(files.size() <= 1, "--config is given {} times; accepted: once", files.size());
  for (const std::string& file : files) {
    const CLI::App& command = named_command(app, args);
    std::vector<Setting> settings;
    for (const CLI::Option* o : command.get_options({}))
      for (const std::string& name : o->get_lnames())
        if (name != "help" && name != "help-all" && name != "config")
          settings.push_back({name, kind_of(*o), o->get_items_expected_max() > 1});
    const std::vector<std::string> given = args;
    for (const ConfigValue& v : read_config(file, settings)) {
      const std::string name = "--" + v.key;
      CLI::Option& option = *const_cast<CLI::App&>(command).get_option(name);
      check_value(file, v, option);
      bool overridden = false;
      for (const std::string& g : given) overridden |= g == name || g.starts_with(name + "=");
      if (overridden) continue;
      if (kind_of(option) != SettingKind::flag) args.push_back(name + "=" + v.text);
      else if (v.text == "true") args.push_back(name);
    }
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
