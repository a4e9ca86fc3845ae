// Strict JSON, and logs of one object a line.

#include "io/json.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "io/json_lines.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

using nlohmann::json;

std::string refused(std::string_view text) {
  return error_of([&] { parse_json(text, "f"); });
}

TEST(Json, TakesWhatTheStandardTakes) {
  EXPECT_EQ(parse_json(R"({"a": [1, -2.5e3, true, null, "\u00e9\ud83d\ude97"], "b": {"a": {}}})", "f").dump(),
            "{\"a\":[1,-2500.0,true,null,\"\xc3\xa9\xf0\x9f\x9a\x97\"],\"b\":{\"a\":{}}}");
  EXPECT_EQ(parse_json("18446744073709551615", "f").get<uint64_t>(), UINT64_MAX);
}

TEST(Json, RefusesTheRest) {
  EXPECT_EQ(refused("{\"a\": 1, \"b\": 2, \"a\": 3}"), "f: the key 'a' stands twice");
  EXPECT_EQ(refused("[{\"a\": {\"b\": 1, \"b\": 1}}]"), "f: the key 'b' stands twice");
  EXPECT_TRUE(holds(refused("{\"a\": }"), "f: not valid JSON at byte 6: "));
  EXPECT_TRUE(holds(refused("\"\xff\""), "UTF-8"));
  EXPECT_TRUE(holds(refused(std::string_view("1\0 2", 4)), "a zero byte"));
  EXPECT_TRUE(holds(refused("1e999"), "f: not valid JSON"));
  EXPECT_TRUE(holds(refused(std::string(65, '[') + std::string(65, ']')), "f: more than 64 levels"));
  refused(std::string(1'000'000, '['));
  for (const char* bad : {"", "{", "[1,]", "{'a':1}", "01", "NaN", "// note\n1", "1 2", "\"\\x\"", "\"a\nb\"", "tru"})
    refused(bad);
}

TEST(JsonLines, RoundTrip) {
  Folder folder;
  const std::string path = folder.file("log");
  {
    JsonLinesWriter log(path);
    log.write({{"step", 1}, {"loss", 0.1}});
    EXPECT_EQ(folder.read("log"), "{\"loss\":0.1,\"step\":1}\n");  // there before the log is closed
    log.write({{"step", 2}, {"note", "two\nlines"}, {"loss", std::nan("")}});
  }
  { JsonLinesWriter(path, true).write({{"step", 3}}); }
  const std::vector<json> records = read_json_lines(path);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0]["loss"].get<double>(), 0.1);
  EXPECT_EQ(records[1]["note"], "two\nlines");
  EXPECT_TRUE(records[1]["loss"].is_null());
  EXPECT_EQ(records[2]["step"], 3);
  { JsonLinesWriter log(path); }
  EXPECT_TRUE(read_json_lines(path).empty());
}

TEST(JsonLines, ContinuesAfterALineThatAKillCut) {
  Folder folder;
  folder.write("log", "{\"step\":1}\n{\"step\":2,\"lo");
  { JsonLinesWriter(folder.file("log"), true).write({{"step", 2}}); }
  EXPECT_EQ(folder.read("log"), "{\"step\":1}\n{\"step\":2}\n");
  folder.write("log", "{\"st");
  { JsonLinesWriter(folder.file("log"), true).write({{"step", 1}}); }
  EXPECT_EQ(folder.read("log"), "{\"step\":1}\n");
  folder.write("other", "precious");
  EXPECT_TRUE(holds(error_of([&] { JsonLinesWriter(folder.file("other"), true); }), "is left as it is"));
  EXPECT_EQ(folder.read("other"), "precious");
}

TEST(JsonLines, ReaderNamesTheLine) {
  const auto refused_lines = [](std::string_view bytes) { return error_of([&] { parse_json_lines(bytes, "log"); }); };
  EXPECT_TRUE(holds(refused_lines("{\"a\":1}\n{\"a\":}\n"), "log:2: not valid JSON at byte 5"));
  EXPECT_EQ(refused_lines("{}\n{}\n[1]\n"), "log:3: is array; expected an object");
  EXPECT_EQ(refused_lines("{}\n{}"), "log:2: the last line is cut short");
  EXPECT_TRUE(holds(refused_lines("{}\n\n{}\n"), "log:2: not valid JSON"));
  EXPECT_EQ(refused_lines("{\"a\":1,\"a\":1}\n"), "log:1: the key 'a' stands twice");
}

TEST(JsonLines, AFailedWriteLeavesWholeLines) {
  Folder folder;
  JsonLinesWriter log(folder.file("log"));
  log.write({{"step", 1}});
  EXPECT_TRUE(holds(error_of([&] { log.write(json::array()); }), "a log takes objects, got array"));
  EXPECT_TRUE(holds(error_of([&] { log.write({{"note", "\xff"}}); }), "the record cannot be written"));
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{100, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string line = error_of([&] { log.write({{"note", std::string(200, 'x')}}); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(line, folder.file("log") + ": cannot be written: File too large");
  EXPECT_EQ(folder.read("log"), "{\"step\":1}\n");
  log.write({{"step", 2}});
  EXPECT_EQ(read_json_lines(folder.file("log")).size(), 2u);
  folder.write("file", "");
  EXPECT_TRUE(holds(error_of([&] { JsonLinesWriter(folder.file("file/log")); }), "cannot be written: Not a directory"));
}

}  // namespace
}  // namespace dr::test
