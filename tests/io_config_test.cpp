// TOML against a list of settings.

#include "io/config.h"

#include <gtest/gtest.h>

#include "tests/io_files.h"

namespace dr::test {
namespace {

const std::vector<Setting> kSettings = {{"steps", SettingKind::integer},     {"lr", SettingKind::number},
                                        {"quiet", SettingKind::flag},        {"data", SettingKind::text, true},
                                        {"loss.alpha", SettingKind::number}, {"loss.kind", SettingKind::text},
                                        {"betas", SettingKind::number, true}};

std::string flat(std::string_view toml) {
  std::string s;
  for (const ConfigValue& v : parse_config(toml, "f", kSettings)) s += format("{}:{}={};", v.line, v.key, v.text);
  return s;
}
std::string refused(std::string_view toml) {
  return error_of([&] { parse_config(toml, "f", kSettings); });
}

TEST(ConfigFile, GivesEveryValueInTheOrderOfTheFile) {
  EXPECT_EQ(flat(""), "");
  EXPECT_EQ(flat("steps = 1_000 # many\nlr = 2e-4\nquiet = true\n"), "1:steps=1000;2:lr=0.0002;3:quiet=true;");
  EXPECT_EQ(flat("lr = 1"), "1:lr=1;");
  EXPECT_EQ(flat("data = ['a', \"b\\n\"]\nbetas = [0.9, 0.95]"), "1:data=a;1:data=b\n;2:betas=0.9;2:betas=0.95;");
  EXPECT_EQ(flat("data = 'a'\n[loss]\nkind = 'x'\nalpha = -0.1\n"), "1:data=a;3:loss.kind=x;4:loss.alpha=-0.1;");
  EXPECT_EQ(flat("loss.alpha = 0.1"), "1:loss.alpha=0.1;");
  EXPECT_EQ(flat("loss = { alpha = 0.1, kind = 'y' }"), "1:loss.alpha=0.1;1:loss.kind=y;");
  EXPECT_EQ(flat("lr = 0.1\n"), "1:lr=0.1;");
  EXPECT_EQ(flat("lr = 123456789.125\n"), "1:lr=123456789.125;");
}

TEST(ConfigFile, NamesFileLineAndNearestKey) {
  EXPECT_EQ(refused("\nstep = 3"), "f:2: unknown key 'step'; the nearest valid one is 'steps'");
  EXPECT_EQ(refused("[loss]\nalpa = 3"), "f:2: unknown key 'loss.alpa'; the nearest valid one is 'loss.alpha'");
  EXPECT_EQ(refused("[los]\nalpha = 3"), "f:1: unknown key 'los'; the nearest valid one is 'lr'");
  EXPECT_EQ(refused("loss = 3"), "f:1: unknown key 'loss'; the nearest valid one is 'lr'");
  EXPECT_EQ(refused("steps.deep = 3"), "f:1: steps takes an integer, got a table");
  EXPECT_EQ(error_of([] { parse_config("a = 1", "f", {}); }), "f:1: unknown key 'a'; there is nothing to set here");
}

TEST(ConfigFile, RefusesOtherKinds) {
  EXPECT_EQ(refused("steps = '3'"), "f:1: steps takes an integer, got a text");
  EXPECT_EQ(refused("quiet = 'yes'"), "f:1: quiet takes true or false, got a text");
  EXPECT_EQ(refused("betas = [0.9, true]"), "f:1: betas takes a list or a number, got true or false");
  EXPECT_EQ(refused("betas = [[0.9]]"), "f:1: betas takes a list or a number, got a list");
  EXPECT_EQ(refused("lr = inf"), "f:1: lr takes a number, got one that is not finite");
  EXPECT_EQ(refused("[[steps]]\na = 1"), "f:1: steps takes an integer, got a list");
}

TEST(ConfigFile, RefusesBadToml) {
  EXPECT_TRUE(holds(refused("steps = 3\nsteps = 4"), "f:2: "));
  for (const char* bad :
       {"steps", "steps =", "= 3", "steps = 3 4", "[loss", "data = 'a", "steps = 0x", "lr = .5", "data = \"\\q\"",
        "\xff = 1", "data = '\xff'", "steps = 99999999999999999999", "a.b = 1\na = 2"})
    EXPECT_TRUE(holds(refused(bad), "f:")) << bad;
  Folder folder;
  folder.write("long", std::string(70'000, '#'));
  EXPECT_TRUE(holds(error_of([&] { read_config(folder.file("long"), kSettings); }), "accepted: up to 64.0 KiB"));
}

TEST(ConfigFile, DeepNestingDoesNotExhaustTheStack) {
  const auto deep = [](size_t parts) {
    std::string key = "a";
    for (size_t i = 1; i < parts; i++) key += ".a";
    return key;
  };
  EXPECT_EQ(refused(deep(2001) + " = 1"), "f:1: unknown key 'a'; the nearest valid one is 'lr'");
  EXPECT_EQ(refused("[" + deep(2001) + "]"), "f:1: unknown key 'a'; the nearest valid one is 'lr'");
  EXPECT_TRUE(holds(refused(deep(2002) + " = 1"), "f: holds 2001 dots"));
  EXPECT_TRUE(holds(refused(deep(32'000) + " = 1"), "accepted: up to 2000"));
  refused("x = " + std::string(30'000, '[') + std::string(30'000, ']'));
  refused("x = " + std::string(60'000, '{'));
}

}  // namespace
}  // namespace dr::test
