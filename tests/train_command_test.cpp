// What a configuration file adds to the command line.

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "train/commands/command.h"

namespace dr::cli {
namespace {

class Config : public testing::Test {
 protected:
  ~Config() override { std::remove(path_.c_str()); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  using Args = std::vector<std::string>;

  const std::string path_ = testing::TempDir() + "dreamroad_config_test.toml";
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

TEST_F(Config, AnUnknownKeyReachesTheParserAndIsRefused) {
  write("thread = 2\n");
  CLI::App app;
  Common common;
  add_common(*app.add_subcommand("audit"), common);
  EXPECT_THROW(app.parse(arguments({"audit", "--config", path_})), CLI::ExtrasError);
}

TEST_F(Config, AMissingFileIsRefused) { EXPECT_THROW(arguments({"audit", "--config", path_}), CLI::FileError); }

}  // namespace
}  // namespace dr::cli
