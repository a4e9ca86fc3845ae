// The commands train tokenizer and encode: the same weights for any number of threads and across an interruption, what
// their files hold, and what they refuse.

#include <CLI/CLI.hpp>
#include <csignal>
#include <thread>
#include <unistd.h>

#include "io/json.h"
#include "io/json_lines.h"
#include "io/segment.h"
#include "tests/io_files.h"
#include "train/commands/train.h"
#include "train/dataset.h"
#include "train/latents.h"

namespace dr::cli {
namespace {

using nlohmann::json;
using test::error_of;
using test::holds;

class TrainTokenizer : public testing::Test {
 protected:
  using Args = std::vector<std::string>;

  int run(Args args) {
    Command app;
    Body body;
    add_train(app, body);
    add_encode(app, body);
    app.parse(arguments(app, args));
    testing::internal::CaptureStdout();
    struct Silence {
      ~Silence() { testing::internal::GetCapturedStdout(); }
    } silence;
    return body();
  }
  // A few tiny steps; `more` overrides.
  Args tiny(const std::string& out, const Args& more = {}) {
    const std::pair<std::string, std::string> usual[] = {
        {"--drives", "3"}, {"--seconds", "4"}, {"--width", "32"},   {"--height", "16"},     {"--outer", "8"},
        {"--inner", "16"}, {"--batch", "4"},   {"--holdout", "1"},  {"--leaf-samples", "2"}, {"--log-every", "1"},
        {"--seed", "3"},   {"--out", folder_.file(out)}, {"--json", folder_.file(out + ".json")}};
    Args args = {"train", "tokenizer", "--quiet"};
    for (const auto& [name, value] : usual)
      if (std::find(more.begin(), more.end(), name) == more.end()) args.insert(args.end(), {name, value});
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  static DataSettings drives(int64_t n, int64_t width, int64_t height) {
    DataSettings s;
    s.drives = n, s.seconds = 4, s.width = width, s.height = height;
    return s;
  }
  json result(const std::string& out) { return parse_json(folder_.read(out + ".json"), out); }
  // The log without what a clock says.
  std::vector<json> lines(const std::string& out) {
    std::vector<json> list = read_json_lines(folder_.file(out + "/tokenizer.log.jsonl"));
    for (json& line : list)
      for (const char* key : {"seconds", "samples_per_s", "utilisation"}) line.erase(key);
    return list;
  }
  std::string checkpoint(const std::string& out) { return folder_.file(out + "/tokenizer.safetensors"); }

  test::Folder folder_;
};

TEST_F(TrainTokenizer, LearnsAndSaysWhatItDid) {
  ASSERT_EQ(run(tiny("a", {"--steps", "30", "--ledger", folder_.file("a.ledger")})), kDone);
  const json r = result("a");
  EXPECT_EQ(r.at("steps"), 30);
  EXPECT_GT(r.at("psnr_db"), 10.0);
  EXPECT_NE(r.at("noisy_psnr_db"), r.at("psnr_db"));
  EXPECT_GT(r.at("ssim"), 0.0);
  EXPECT_EQ(r.at("held_out_frames"), 20);
  EXPECT_GT(r.at("seconds"), 0.0);
  const std::vector<json> log = lines("a");
  ASSERT_EQ(log.size(), 31u);
  EXPECT_EQ(log[0].at("settings").at("outer"), 8);
  EXPECT_LT(log[30].at("loss"), 0.7 * log[1].at("loss").get<double>());
  EXPECT_LT(r.at("final_loss"), log[1].at("loss"));
  EXPECT_EQ(read_ledger(folder_.file("a.ledger")).size(), 30u);

  // Over frames of the training drives, each channel has mean 0 and variance 1.
  Runtime runtime({.threads = 1});
  const LoadedTokenizer t = load_tokenizer(runtime, checkpoint("a"));
  EXPECT_EQ(t.hash, r.at("tokenizer_hash"));
  std::vector<float> latents;
  const Logs logs = open_dataset(runtime, drives(2, 32, 16), 3);
  for (const auto& log : logs) {
    const std::vector<float> some = encode_log(runtime, *t.tokenizer, *log);
    latents.insert(latents.end(), some.begin(), some.end());
  }
  const LatentStatistics s = latent_statistics(latents);
  for (size_t c = 0; c < 4; c++) {
    EXPECT_NEAR(s.mean[c], 0, 1e-4);
    EXPECT_NEAR(s.deviation[c], 1, 1e-4);
  }
}

TEST_F(TrainTokenizer, ThreadsAndMicroBatchesChangeNoBit) {
  ASSERT_EQ(run(tiny("one", {"--steps", "4", "--threads", "1"})), kDone);
  ASSERT_EQ(run(tiny("two", {"--steps", "4", "--threads", "2"})), kDone);
  ASSERT_EQ(run(tiny("micro", {"--steps", "4", "--micro-batch", "2"})), kDone);
  ASSERT_EQ(run(tiny("seed", {"--steps", "4", "--seed", "4"})), kDone);
  const json one = result("one");
  for (const char* key : {"weights_hash", "tokenizer_hash", "psnr_db", "noisy_psnr_db", "ssim", "final_loss"}) {
    EXPECT_EQ(one.at(key), result("two").at(key)) << key;
    EXPECT_EQ(one.at(key), result("micro").at(key)) << key;
  }
  EXPECT_EQ(lines("one"), lines("two"));
  EXPECT_NE(one.at("weights_hash"), result("seed").at("weights_hash"));
}

TEST_F(TrainTokenizer, AnInterruptedRunGoesOnAsIfNothingHadBeen) {
  const Args more = {"--steps", "40"};
  ASSERT_EQ(run(tiny("whole", more)), kDone);
  const auto before = std::signal(SIGINT, SIG_IGN);  // should the signal come after the last step
  int code = kDone;
  {
    std::jthread interrupt([&](std::stop_token stop) {
      while (!stop.stop_requested()) {
        const std::string log = folder_.read("cut/tokenizer.log.jsonl");
        if (std::count(log.begin(), log.end(), '\n') > 3) return void(kill(getpid(), SIGINT));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    code = run(tiny("cut", more));
  }
  std::signal(SIGINT, before);
  ASSERT_EQ(code, kInterrupted);
  const json cut = result("cut");
  EXPECT_GE(cut.at("steps"), 3);
  EXPECT_LT(cut.at("steps"), 40);
  Runtime runtime({.threads = 1});
  EXPECT_TRUE(holds(error_of([&] { load_tokenizer(runtime, checkpoint("cut")); }), "a tokenizer in training, step"));

  Args other = more;
  other.insert(other.end(), {"--resume", "--noise", "0.2"});
  EXPECT_TRUE(holds(error_of([&] { run(tiny("cut", other)); }), "it was trained with noise = 0.1, this run has 0.2"));
  Args resumed = more;
  resumed.push_back("--resume");
  ASSERT_EQ(run(tiny("cut", resumed)), kDone);
  for (const char* key : {"weights_hash", "tokenizer_hash", "psnr_db", "final_loss", "steps"})
    EXPECT_EQ(result("whole").at(key), result("cut").at(key)) << key;
  EXPECT_EQ(lines("whole"), lines("cut"));
}

TEST_F(TrainTokenizer, ADamagedCheckpointIsRefusedByTheTensorsName) {
  ASSERT_EQ(run(tiny("a", {"--steps", "1"})), kDone);
  const SafeTensors file(checkpoint("a"));
  const StoredArray& stored = file.at("average.encoder.down.weight");
  std::string bytes = folder_.read("a/tokenizer.safetensors");
  const size_t at = bytes.find(stored.bytes);
  ASSERT_NE(at, bytes.npos);
  bytes[at + stored.bytes.size() / 2] ^= 4;
  folder_.write("a/tokenizer.safetensors", bytes);
  Runtime runtime({.threads = 1});
  EXPECT_TRUE(holds(error_of([&] { load_tokenizer(runtime, checkpoint("a")); }),
                    "tensor 'average.encoder.down.weight' is damaged"));
  EXPECT_TRUE(holds(error_of([&] { run(tiny("a", {"--steps", "1", "--resume"})); }),
                    "tensor 'average.encoder.down.weight' is damaged"));
}

TEST_F(TrainTokenizer, ReadsItsOptionsFromAFile) {
  folder_.write("run.toml", "steps = 2\nnoise = 0.25\nouter = 12\n");
  ASSERT_EQ(run(tiny("a", {"--config", folder_.file("run.toml")})), kDone);
  const json settings = lines("a")[0].at("settings");
  EXPECT_EQ(settings.at("steps"), 2);
  EXPECT_EQ(settings.at("noise"), 0.25);
  EXPECT_EQ(settings.at("outer"), 8);  // of the command line
  folder_.write("run.toml", "stepz = 2\n");
  EXPECT_EQ(error_of([&] { run(tiny("a", {"--config", folder_.file("run.toml")})); }),
            folder_.file("run.toml") + ":1: unknown key 'stepz'; the nearest valid one is 'steps'");
}

TEST_F(TrainTokenizer, AWrongOptionGivesOneLine) {
  auto line = [&](Args more) {
    std::string what = error_of([&] { run(tiny("a", more)); });
    EXPECT_EQ(what.find('\n'), what.npos) << what;
    return what;
  };
  EXPECT_TRUE(holds(line({"--width", "36"}), "frames of 36 x 16: --width and --height must be multiples of 8"));
  EXPECT_TRUE(holds(line({"--holdout", "3"}), "--holdout: 3 of 3 logs; accepted: fewer"));
  EXPECT_TRUE(holds(line({"--batch", "3"}), "a batch is whole leaves"));
  EXPECT_TRUE(holds(line({"--data", folder_.file("none")}), "none"));
  EXPECT_THROW(run(tiny("a", {"--noise", "-1"})), CLI::ValidationError);
  EXPECT_THROW(run({"train"}), CLI::RequiredError);
}

TEST_F(TrainTokenizer, EncodeStoresTheLatentsOfEveryFrame) {
  ASSERT_EQ(run(tiny("a", {"--steps", "2"})), kDone);
  ASSERT_EQ(run(tiny("other", {"--steps", "1"})), kDone);
  Runtime runtime({.threads = 1});
  create_folder(folder_.file("drives"));
  const Logs logs = open_dataset(runtime, drives(2, 64, 32), 5);
  for (size_t i = 0; i < 2; i++) write_segment(folder_.file(format("drives/{}.safetensors", i)), *logs[i]);
  const Args encode = {"encode", "--quiet", "--tokenizer", checkpoint("a"), "--data", folder_.file("drives"), "--json",
                       folder_.file("encode.json")};
  ASSERT_EQ(run(encode), kDone);
  EXPECT_EQ(result("encode").at("frames"), 40);
  ASSERT_EQ(run(encode), kDone);  // latents are no drives
  EXPECT_EQ(result("encode").at("frames"), 40);

  const LoadedTokenizer t = load_tokenizer(runtime, checkpoint("a"));
  for (size_t i = 0; i < 2; i++) {
    const std::string path = latents_path(folder_.file(format("drives/{}.safetensors", i)));
    EXPECT_EQ(path, folder_.file(format("drives/{}.latents.safetensors", i)));
    const HostArray latents = read_latents(path, t.hash);
    EXPECT_EQ(latents.view.sizes, (Sizes{20, 2, 4, 4}));
    const std::vector<float> expected = encode_log(runtime, *t.tokenizer, fitted(*logs[i], 32, 16));
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), latents.data<float>()));
    EXPECT_TRUE(holds(error_of([&] { read_latents(path, load_tokenizer(runtime, checkpoint("other")).hash); }),
                      "run `encode` again"));
  }
  Args some = encode;
  some.insert(some.end(), {"--frames", "5:12", "--out", folder_.file("some")});
  ASSERT_EQ(run(some), kDone);
  const HostArray cut = read_latents(folder_.file("some/1.latents.safetensors"), t.hash),
                  whole = read_latents(folder_.file("drives/1.latents.safetensors"), t.hash);
  EXPECT_EQ(cut.view.size(0), 7);
  EXPECT_TRUE(std::equal(cut.data<float>(), cut.data<float>() + cut.view.count(), whole.data<float>() + 5 * 32));
  EXPECT_TRUE(holds(error_of([&] { read_latents(checkpoint("a"), t.hash); }), "its format is"));
}

}  // namespace
}  // namespace dr::cli
