// What a configuration file adds to the command line.

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include "tests/io_files.h"
#include "train/commands/command.h"

namespace dr::cli {
namespace {

using test::error_of;
using test::holds;

class Config : public testing::Test {
 protected:
  using Args = std::vector<std::string>;

  Config() {
    add_audit(app_, body_);
    add_bench(app_, body_);
  }
  void write(const std::string& text) { folder_.write("run.toml", text); }
  Args arguments(const Args& command_line) const { return dr::arguments(app_, command_line); }
  std::string refused(const std::string& text) {
    write(text);
    return error_of([&] { arguments({"audit", "--config", path_}); });
  }

  test::Folder folder_;
  const std::string path_ = folder_.file("run.toml");
  Command app_;
  Body body_;
};

TEST_F(Config, AddsItsOptionsLastFirst) {
  write("threads = 2\nop = \"add\"\nquiet = true\nprofile = false\n");
  EXPECT_EQ(arguments({"audit", "--config", path_}), (Args{"--quiet", "--op=add", "--threads=2", "audit"}));
  EXPECT_EQ(arguments({"audit", "--config=" + path_}), (Args{"--quiet", "--op=add", "--threads=2", "audit"}));
}

TEST_F(Config, GivesWayToTheCommandLine) {
  write("threads = 2\nop = \"add\"\n");
  EXPECT_EQ(arguments({"audit", "--config", path_, "--op", "gelu", "--threads=1"}),
            (Args{"--threads=1", "gelu", "--op", "audit"}));
}

TEST_F(Config, SetsWhatTheCommandReads) {
  write("# how it is run\ntolerance-scale = 0.5\nseed = 0x10\nquiet = true\nop = 'false'\n");
  app_.parse(arguments({"audit", "--config", path_}));
  CLI::App& audit = *app_.app().get_subcommand("audit");
  EXPECT_EQ(audit["--tolerance-scale"]->as<double>(), 0.5);
  EXPECT_EQ(audit["--seed"]->as<int>(), 16);
  EXPECT_EQ(audit["--quiet"]->count(), 1u);
  EXPECT_EQ(audit["--op"]->as<std::string>(), "false");
}

TEST_F(Config, AnUnknownKeyIsRefusedWithItsLineAndTheNearest) {
  EXPECT_EQ(refused("op = 'add'\n\nthread = 2\n"),
            path_ + ":3: unknown key 'thread'; the nearest valid one is 'threads'");
  EXPECT_EQ(refused("[audit]\nop = 'add'\n"), path_ + ":1: unknown key 'audit'; the nearest valid one is 'out'");
  EXPECT_TRUE(holds(refused("help = true"), ":1: unknown key 'help'"));
  EXPECT_TRUE(holds(refused("config = 'other.toml'"), ":1: unknown key 'config'"));
  write("seconds = 1.5\n");  // of bench alone
  EXPECT_EQ(arguments({"bench", "--config", path_}), (Args{"--seconds=1.5", "bench"}));
  EXPECT_TRUE(holds(error_of([&] { arguments({"audit", "--config", path_}); }), "unknown key 'seconds'"));
  EXPECT_TRUE(holds(error_of([&] {
                      arguments({"audit", "diff", "--config", path_});
                    }),
                    "the nearest valid one is 'json'"));
}

TEST_F(Config, AValueOfTheWrongKindIsRefused) {
  EXPECT_EQ(refused("quiet = true\nthreads = 'two'\n"), path_ + ":2: threads takes an integer, got a text");
  EXPECT_EQ(refused("threads = 2.0"), path_ + ":1: threads takes an integer, got a number");
  EXPECT_EQ(refused("threads = [1, 2]"), path_ + ":1: threads takes an integer, got a list");
  EXPECT_EQ(refused("op = 3"), path_ + ":1: op takes a text, got an integer");
  EXPECT_EQ(refused("quiet = 1"), path_ + ":1: quiet takes true or false, got an integer");
  EXPECT_EQ(refused("tolerance-scale = nan"), path_ + ":1: tolerance-scale takes a number, got one that is not finite");
  EXPECT_EQ(refused("op = 2020-01-01"), path_ + ":1: op takes a text, got a date or time");
  EXPECT_EQ(refused("threads = 5000"), path_ + ":1: threads: Value 5000 not in range 0 to 1024");
  EXPECT_EQ(refused("seed = -1"), path_ + ":1: seed: -1 is below 0");
  EXPECT_TRUE(holds(refused("threads = 2\nthreads = 3\n"), path_ + ":2: "));
  EXPECT_TRUE(holds(refused("threads == 2"), path_ + ":1: "));
}

TEST_F(Config, AMissingFileIsRefused) {
  EXPECT_EQ(error_of([&] {
              arguments({"audit", "--config", path_});
            }),
            path_ + ": cannot be read: No such file or directory");
  write("");
  EXPECT_EQ(error_of([&] {
              arguments({"audit", "--config", path_, "--config=" + path_});
            }),
            "--config is given 2 times; accepted: once");
}

}  // namespace
}  // namespace dr::cli
