#pragma once
// Runs a subcommand within a test.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "train/commands/command.h"

namespace dr::test {

// The subcommand that `add` adds, by a command line that begins with its name. It must end well; what it refuses is
// thrown. Nothing is printed.
inline void run_command(void (*add)(Command&, cli::Body&), std::vector<std::string> command_line) {
  Command app;
  cli::Body body;
  add(app, body);
  std::reverse(command_line.begin(), command_line.end());  // the order that CLI11's parse takes
  app.parse(command_line);
  testing::internal::CaptureStdout();
  struct Silence {
    ~Silence() { testing::internal::GetCapturedStdout(); }
  } silence;
  EXPECT_EQ(body(), cli::kDone);
}

}  // namespace dr::test
