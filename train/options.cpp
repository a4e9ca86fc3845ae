#include "train/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "io/config.h"
#include "io/nearest.h"
#include "kernels/core/check.h"

namespace dr {

// ---- commands ----

using Option = Command::Option;

Option& Option::required() {
  option_->required();
  return *this;
}
Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}
Option& Option::range(int64_t low, int64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
Option& Option::range(double low, double high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
Option& Option::one_of(const std::vector<std::string>& accepted) {
  option_->check(CLI::IsMember(accepted));
  return *this;
}

Command::Command(const std::string& name, const std::string& description)
    : program_(std::make_shared<CLI::App>(name + ": " + description, name)), app_(program_.get()) {
  app_->set_help_all_flag("--help-all", "help of every subcommand");
}

Command Command::add_subcommand(const std::string& name, const std::string& help) {
  return Command(app_->add_subcommand(name, help));
}
void Command::require_subcommand() { app_->require_subcommand(1); }

Option Command::add_option(const std::string& name, int& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, int64_t& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, uint64_t& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, double& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, std::string& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
Option Command::add_option(const std::string& name, std::vector<std::string>& values, const std::string& help) {
  return Option(app_->add_option(name, values, help));
}
void Command::add_flag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}
void Command::callback(std::function<void()> called_when_named) { app_->callback(std::move(called_when_named)); }

void Command::parse(std::vector<std::string> last_first) { app_->parse(std::move(last_first)); }
bool Command::parsed() const { return app_->parsed(); }
bool Command::given(const std::string& option) const { return app_->get_option(option)->count() > 0; }
std::string Command::help() const { return app_->help(); }

// ---- configuration files ----

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

std::vector<std::string> arguments(const Command& program, const std::vector<std::string>& command_line) {
  std::vector<std::string> args, files;
  for (size_t i = 0; i < command_line.size(); i++) {
    const std::string& arg = command_line[i];
    if (arg == "--config" && i + 1 < command_line.size()) files.push_back(command_line[++i]);
    else if (arg.starts_with("--config=")) files.push_back(arg.substr(9));
    else args.push_back(arg);
  }
  CHECK(files.size() <= 1, "--config is given {} times; accepted: once", files.size());
  for (const std::string& file : files) {
    const CLI::App& command = named_command(program.app(), args);
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

// ---- running ----

namespace {

// CLI11 names the argument that it could not place; the closest valid name is what a user wants to see next to it.
std::string suggestion(const CLI::App& app, const std::string& written) {
  const CLI::App* command = &app;
  for (bool deeper = true; deeper;) {
    deeper = false;
    for (const CLI::App* sub : command->get_subcommands({}))
      if (sub->parsed()) command = sub, deeper = true;
  }
  std::vector<std::string> names;
  for (const CLI::App* sub : command->get_subcommands({})) names.push_back(sub->get_name());
  for (const CLI::Option* option : command->get_options()) names.push_back("--" + option->get_single_name());
  return nearest(written, names);
}

}  // namespace

int run(Command& program, const std::vector<std::string>& command_line, int bad_input,
        const std::function<int()>& body) {
  CLI::App& app = program.app();
  try {
    program.parse(arguments(program, command_line));
    return body();
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ExtrasError& e) {
    const std::string left = app.remaining(true).empty() ? "" : app.remaining(true).front();
    std::fprintf(stderr, "dreamroad: unknown argument '%s'; the nearest valid one is %s\n", left.c_str(),
                 suggestion(app, left).c_str());
    return bad_input;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "dreamroad: %s\n", e.what());
    return bad_input;
  } catch (const Error& e) {
    std::fprintf(stderr, "dreamroad: %s\n", e.what());
    return bad_input;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "dreamroad: out of memory\n");
    return bad_input;
  }
}

}  // namespace dr
