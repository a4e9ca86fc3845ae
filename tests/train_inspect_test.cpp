// inspect: every kind of file is told from its content, and headers alone are read.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "io/image.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "io/video.h"
#include "runtime/ledger.h"
#include "tests/io_drives.h"
#include "tests/io_files.h"
#include "tests/io_samples.h"
#include "tests/train_command.h"

namespace dr::cli {
namespace {

using nlohmann::json;
using test::error_of;
using test::Folder;
using test::holds;

json inspected(const Folder& folder, const std::string& path, const std::string& out = "") {
  std::vector<std::string> command_line = {"inspect", path, "--quiet", "--json", folder.file("result.json")};
  if (!out.empty()) command_line.insert(command_line.end(), {"--out", out});
  test::run_command(add_inspect, command_line);
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

TEST(Inspect, TakesNoSafetensorsForAVideo) {
  Folder folder;
  const std::string header = "{}" + std::string(65536 - 2, ' ');
  folder.write("a", std::string("\0\0\1\0\0\0\0\0", 8) + header);  // 65536: the start code of an H.264 stream
  EXPECT_EQ(inspected(folder, folder.file("a"))["kind"], "safetensors");
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
  EXPECT_EQ(error_of([&] { inspected(folder, folder.write("a.xodr", "<?xml version=\"1.0\"?>\n<OpenDRIVE>")); }),
            folder.file("a.xodr") + ": an OpenDRIVE map; inspect does not read these yet");
  create_folder(folder.file("empty folder"));
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("empty folder")); }), "empty folder: no driving log; accepted: "));
  folder.write("video", std::string("\0\0\0\x18" "ftypmp42", 12));
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, folder.file("video")); }), "/video: "));
}

// ---- driving logs and reports ----

// The page that inspect wrote: it exists, loads nothing from elsewhere, and has so many images.
std::string page(const json& result, size_t images) {
  const std::string html = read_file(result["report"].get<std::string>(), 64 << 20);
  size_t found = 0;
  for (size_t i = html.find("<img "); i != html.npos; i = html.find("<img ", i + 1)) found++;
  EXPECT_EQ(found, images) << result["report"];
  EXPECT_EQ(html.find("://"), html.npos);
  return html;
}

// Of 40 m radius, 10 m/s.
void expect_right_turn(const json& drive, double seconds) {
  const double turned = seconds / 4;
  EXPECT_NEAR(drive["seconds"], seconds, 1e-6);
  EXPECT_NEAR(drive["metres"], 10 * seconds, 0.02 * seconds);  // chords of the arc
  EXPECT_NEAR(drive["end_m"][0], 40 * std::sin(turned), 0.1);
  EXPECT_NEAR(drive["end_m"][1], 40 * (1 - std::cos(turned)), 0.1) << "to the right";
  EXPECT_NEAR(drive["turned_rad"], turned, 1e-3);
  EXPECT_NEAR(drive["curvature_per_m"][0], 1 / 40.0, 1e-3);
  EXPECT_NEAR(drive["speed_mps"][1], 10, 0.1);
}

TEST(Inspect, KnowsADriveInEveryLayout) {
  Folder folder;
  const DrivingLog log = test::right_turn();
  const std::string kitti = folder.file("kitti"), comma = folder.file("comma"), drives = folder.file("drives"), out = folder.file("out");
  for (const std::string& path : {kitti, comma, drives}) create_folder(path);

  test::write_kitti(kitti, log, 12);
  std::string rows = "unix_time_s,vel_fwd_mps,acc_fwd_mps2,yaw_deg_s\n";
  for (int i = 0; i < 12; i++) rows += format("{},10,0,{}\n", 0.2 * i, -0.25 * 180 / 3.14159265358979);
  write_file(kitti + "/ego.csv", rows);
  const json k = inspected(folder, kitti, out);
  EXPECT_EQ(k["kind"], "kitti");
  EXPECT_EQ(k["frames"], 12);
  EXPECT_EQ(k["depth"], true);
  expect_right_turn(k, 2.2);
  page(k, 12 * 2 + 6);  // camera and depth, and depth's colours

  test::write_comma2k19(comma, log);
  const json c = inspected(folder, comma, out);
  EXPECT_EQ(c["kind"], "comma2k19");
  EXPECT_EQ(c["frames"], 0);
  EXPECT_NEAR(c["steering_wheel_deg"][0], 30, 1e-9) << "to the right";
  expect_right_turn(c, 11.95);
  EXPECT_TRUE(holds(page(c, 0), "Angle of the steering wheel"));

  write_segment(drives + "/b.safetensors", log);
  write_segment(drives + "/a.safetensors", log);
  write_file(drives + "/notes.txt", "no segment");
  const json s = inspected(folder, drives + "/b.safetensors", out);
  EXPECT_EQ(s["kind"], "segment");
  EXPECT_EQ(s["tensors"].size(), 9u);
  expect_right_turn(s["drive"], 11.95);
  EXPECT_TRUE(holds(page(s, 12 * 3 + 6), "lane&#39;s centre"));  // no key of labels: they are not the built-in world's
  const json d = inspected(folder, drives + "/", out);
  EXPECT_EQ(d["kind"], "segments");
  ASSERT_EQ(d["segments"].size(), 2u);
  EXPECT_EQ(d["segments"][0]["file"], "a.safetensors");
  expect_right_turn(d["segments"][1], 11.95);
  EXPECT_NEAR(d["metres"], 2 * 119.5, 0.5);
  page(d, 2 * 3 * 3);
  EXPECT_EQ(Folder::names_in(out), (std::vector<std::string>{"b.safetensors.html", "comma.html", "drives.html", "kitti.html"}));
}

TEST(Inspect, ShowsImagesArraysAndLogs) {
  Folder folder;
  const std::string out = folder.file("out");
  Image image{5, 3, 3, {}};
  for (int i = 0; i < 45; i++) image.pixels.push_back(uint8_t(i * 5));
  write_png(folder.file("image.png"), image);
  const std::string html = page(inspected(folder, folder.file("image.png"), out), 1), begin = "src=\"data:image/png;base64,";
  const std::string_view data = std::string_view(html).substr(html.find(begin) + begin.size());
  EXPECT_EQ(decode_image(test::base64_decoded(data.substr(0, data.find('"'))), "embedded").pixels, image.pixels);
  write_png(folder.file("depth.png"), Image16{5, 3, std::vector<uint16_t>(15, 256 * 20)});
  EXPECT_TRUE(holds(page(inspected(folder, folder.file("depth.png"), out), 1 + 6), "100.0 % of the pixels"));

  std::vector<float> v(2 * 9 * 8);
  v[7] = std::nanf("");
  for (const auto& [sizes, images] : {std::pair{Sizes{2, 9, 8}, 2}, std::pair{Sizes{18, 8}, 1}, std::pair{Sizes{144}, 0},
                                      std::pair{Sizes{24, 6}, 0}, std::pair{Sizes{2, 2, 2, 18}, 0}, std::pair{Sizes{0, 8}, 0}}) {
    write_npy(folder.file("a.npy"), View(v.data(), DType::f32, sizes));
    page(inspected(folder, folder.file("a.npy"), out), size_t(images));
  }
  std::vector<uint8_t> u(2 * 4 * 6 * 3);
  write_npy(folder.file("a.npy"), View(u.data(), DType::u8, {2, 4, 6, 3}));
  page(inspected(folder, folder.file("a.npy"), out), 2);

  folder.write("log", "{\"step\":10,\"loss\":0.5,\"losses\":{\"depth\":2}}\n{\"step\":20,\"loss\":0.25}\n");
  const std::string log = page(inspected(folder, folder.file("log"), out), 0);
  EXPECT_TRUE(holds(log, "<title>20, 0.25</title>")) << "a curve of the loss over the steps";
  EXPECT_TRUE(holds(log, "losses.depth"));
}

TEST(Inspect, KnowsTheRealDrives) {
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data) GTEST_SKIP() << "DREAMROAD_DATA is not set";
  const std::string root = data;
  Folder folder;
  const std::string out = folder.file("out");
  const json kitti = inspected(folder, root + "/kitti_raw_0001", out);
  EXPECT_EQ(kitti["frames"], 108);
  EXPECT_EQ(kitti["right_frames"], 30);
  EXPECT_NEAR(kitti["metres"], 107, 1);
  EXPECT_NEAR(kitti["speed_mps"][0], 4.6, 0.1);
  EXPECT_NEAR(kitti["speed_mps"][1], 13.2, 0.2);
  page(kitti, 12 * 2 + 6 + 3 * 2);
  const json comma = inspected(folder, root + "/comma2k19", out);
  EXPECT_EQ(comma["poses"], 1200);
  EXPECT_NEAR(comma["turned_rad"], 0, 0.05) << "nearly straight";
  page(comma, 1);
  page(inspected(folder, root + "/comma2k19/preview.png", out), 1);
  EXPECT_TRUE(holds(error_of([&] { inspected(folder, root + "/opendrive/Town01.xodr"); }), "does not read these yet"));
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg: the video is left out";
  const json video = inspected(folder, root + "/video/solidWhiteRight.mp4", out);
  EXPECT_EQ(video["frames"], 221);
  EXPECT_EQ(video["width"], 960);
  EXPECT_EQ(video["frames_per_s"], 25);
  EXPECT_EQ(video["codec"], "h264");
  EXPECT_TRUE(holds(page(video, 12), ">8.80 s<"));
}

}  // namespace
}  // namespace dr::cli
