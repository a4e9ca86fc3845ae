#pragma once
// What every subcommand shares: the common options, exit codes and JSON output.

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/runtime.h"

namespace dr::cli {

enum Exit : int { kDone = 0, kCheckFailed = 1, kBadInput = 2, kInterrupted = 3 };

struct Common {
  std::string device = "cpu";
  std::string math = "canonical";
  std::string isa;  // empty: the best that this processor runs
  int threads = 0;  // 0: one per core
  uint64_t seed = 1;
  std::string out, json, ledger, config;
  bool profile = false, quiet = false;

  // The CPU backend that was asked for. Throws dr::Error where the device, the math tier or the instruction set is not
  // available here, naming what is.
  Backend backend() const;
  RuntimeOptions runtime() const;
};

// The command line without `--config FILE`, but with the options that the TOML file names and the command line does
// not; last first, the order that CLI11's parse takes. The file is checked against the options of the subcommand that
// the command line names: an unknown key, a value of the wrong kind or out of range throws dr::Error with file and
// line.
std::vector<std::string> arguments(const CLI::App& app, const std::vector<std::string>& command_line);

// Adds the common options to a subcommand. --config is listed for --help alone: arguments() has replaced it by then.
void add_common(CLI::App& command, Common& common);

// The chosen subcommand stores its body here; main calls it and returns what it returns.
using Body = std::function<int()>;

void add_audit(CLI::App& app, Body& body);
void add_bench(CLI::App& app, Body& body);
void add_simulate(CLI::App& app, Body& body);
void add_reproject(CLI::App& app, Body& body);
void add_inspect(CLI::App& app, Body& body);
void add_encode(CLI::App& app, Body& body);
int list_ops();

}  // namespace dr::cli
