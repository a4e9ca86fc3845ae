// inspect: every kind of file is told from its content, and headers alone are read.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "io/image.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "runtime/ledger.h"
#include "tests/io_files.h"
#include "train/commands/command.h"

namespace dr::cli {
namespace {

using nlohmann::json;
using test::error_of;
using test::Folder;
using test::holds;

json inspected(const Folder& folder, const std::string& path) {
  CLI::App app;
  Body body;
  add_inspect(app, body);
  app.parse(std::vector<std::string>{folder.file("result.json"), "--json", "--quiet", path, "inspect"});
  EXPECT_EQ(body(), kDone);
  return read_json(folder.file("result.json"));
}

TEST(Inspect, ListsTheTensorsOfASafetensorsFile) {
  Folder folder;
  std::vector<float> weight(6);
  std::vector<uint8_t> flag(1);
  write_safetensors(folder.file("a"),
                    std::vector<NamedView>{{"weight", View(weight.data(), DType::f32, {2, 3})},
                                           {"flag", View(flag.data(), DType::u8, {1})}},
                    {{"step", "7"}});
  const json r = inspected(folder, folder.file("a"));
  EXPECT_EQ(r["kind"], "safetensors");
  EXPECT_EQ(r["tensors"].dump(), R"([{"bytes":24,"dtype":"f32","name":"weight","shape":[2,3]},)"
                                 R"({"bytes":1,"dtype":"u8","name":"flag","shape":[1]}])");
  EXPECT_EQ(r["metadata"].dump(), R"({"step":"7"})");
  EXPECT_EQ(r["elements"], 7);
  EXPECT_EQ(r["bytes"], folder.read("a").size());
}

TEST(Inspect, TellsEveryKindFromItsContent) {
  Folder folder;
  std::vector<float> v(6);
  write_npy(folder.file("a.png"), View(v.data(), DType::f32, {2, 3}));  // the name says nothing
  const json npy = inspected(folder, folder.file("a.png"));
  EXPECT_EQ(npy["kind"], "npy");
  EXPECT_EQ(npy["shape"].dump(), "[2,3]");
  write_png(folder.file("b"), Image16{5, 3, std::vector<uint16_t>(15)});
  const json png = inspected(folder, folder.file("b"));
  EXPECT_EQ(png["kind"], "png");
  EXPECT_EQ(png["width"], 5);
  EXPECT_EQ(png["bits"], 16);
  write_jpeg(folder.file("c"), Image{16, 8, 3, std::vector<uint8_t>(16 * 8 * 3)});
  EXPECT_EQ(inspected(folder, folder.file("c"))["height"], 8);
  {
    LedgerWriter ledger(folder.file("d"));
    ledger.begin_step(4);
    ledger.end_step();
    ledger.close();
  }
  EXPECT_EQ(inspected(folder, folder.file("d"))["steps"][0]["step"], 4);
  DrivingLog drive;
  drive.where = drive.kind = "test";
  drive.times_s = {0, 0.05};
  drive.poses.resize(2);
  write_segment(folder.file("f"), drive);
  EXPECT_EQ(inspected(folder, folder.file("f"))["kind"], "segment");
  folder.write("e", "{\"step\":1,\"loss\":0.5}\n{\"step\":2}\n");
  const json log = inspected(folder, folder.file("e"));
  EXPECT_EQ(log["kind"], "log");
  EXPECT_EQ(log["keys"].size(), 2u);
  EXPECT_EQ(log["keys"][1]["last"], 2);
}

TEST(Inspect, ReadsNoMoreThanTheHeader) {
  Folder folder;
  const uint64_t bytes = uint64_t{64} << 30;
  const std::string header =
      format(R"({{"x":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}})", bytes / 4, bytes);
  const uint64_t n = header.size();
  folder.write("sparse", std::string(reinterpret_cast<const char*>(&n), 8) + header);
  if (truncate(folder.file("sparse").c_str(), off_t(8 + n + bytes)) != 0) GTEST_SKIP() << "no sparse files here";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(inspected(folder, folder.file("sparse"))["elements"], bytes / 4);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST(Inspect, RefusesWhatItDoesNotKnow) {
  Folder folder;
  folder.write("text", "hello");
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("text")); }),
                    "its content is of no kind that is known here; accepted: png, jpeg, npy"));
  folder.write("empty", "");
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("empty")); }), "of no kind that is known here"));
  folder.write("model.npy", "\x80\x04K\x01.");
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("model.npy")); }), "is a Python pickle"));
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("none")); }), "cannot be read"));
}

}  // namespace
}  // namespace dr::cli
