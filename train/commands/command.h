#pragma once
// What every subcommand shares: the common options, exit codes and JSON output.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/runtime.h"
#include "train/options.h"

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

// Adds the common options to a subcommand. --config is listed for --help alone: arguments() has replaced it by then.
void add_common(Command& command, Common& common);

// The chosen subcommand stores its body here; main calls it and returns what it returns.
using Body = std::function<int()>;

void add_audit(Command& app, Body& body);
void add_bench(Command& app, Body& body);
void add_simulate(Command& app, Body& body);
void add_reproject(Command& app, Body& body);
void add_inspect(Command& app, Body& body);
void add_encode(Command& app, Body& body);
void add_sample(Command& app, Body& body);
void add_report(Command& app, Body& body);
int list_ops();

}  // namespace dr::cli
