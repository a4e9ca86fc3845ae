// The world model end to end at its smallest: training, its ledger and resuming; rollouts from logs; sample, eval and
// report.

#include <cmath>
#include <csignal>

#include "io/image.h"
#include "io/json.h"
#include "io/json_lines.h"
#include "io/segment.h"
#include "io/video.h"
#include "sim/drive.h"
#include "tests/io_files.h"
#include "tests/runtime_test_ops.h"
#include "tests/train_command.h"
#include "train/commands/eval.h"
#include "train/commands/train.h"
#include "train/world_films.h"

namespace dr::test {
namespace {

using nlohmann::json;

WorldModelConfig small(bool residual = true, bool level_road = true) {
  return {.rows = 4,
          .columns = 8,
          .latent_channels = 4,
          .patch = 2,
          .layers = 2,
          .channels = 24,
          .heads = 2,
          .mlp_ratio = 2,
          .anchors = 2,
          .window = 4,
          .hypotheses = 2,
          .residual = residual,
          .level_road = level_road};
}

std::shared_ptr<const DrivingLog> drive(Runtime& runtime, double seconds = 12) {
  sim::DriveSettings s;
  s.seconds = seconds;
  s.camera = sim::Camera::wide().resized(64, 32);
  return std::make_shared<DrivingLog>(sim::Drive(s).segment(runtime, 0, false, false));
}

// A model that has learnt nothing: with `random`, every weight is a number, else as it is before its first step, when
// its velocity is 0 everywhere.
struct Untrained {
  Runtime runtime{{.threads = 1}};
  LatentCodec codec{runtime, ""};
  Forecaster forecaster;
  LoadedWorldModel world;
  LatentLog log;

  explicit Untrained(bool random_weights, bool residual = true, bool level_road = true)
      : forecaster(runtime, codec, level_road) {
    world.parameters = std::make_unique<Parameters>(runtime);
    world.model = std::make_unique<WorldModel>(*world.parameters, small(residual, level_road));
    world.parameters->initialise(1);
    world.notes = {std::vector<float>(size_t(small().frame_numbers()), 4.0f), "none", 64, 32};
    if (random_weights)
      for (const Parameter& p : *world.parameters) {
        std::vector<float> v = numbers(p.value.count(), p.op_id);
        for (float& f : v) f = p.name.ends_with("norm.weight") ? 1 + 0.5f * f : 0.3f * f;
        p.value.copy_from(std::span<const float>(v));
      }
    log.log = drive(runtime);
    log.latents = thumbnails(*log.log);
  }
  RolloutStart start(int64_t first, uint64_t number, int64_t context = 3) const {
    return {&log, first, 1, context, 30, number};
  }
  // The latents of each of the next frames, (frames) of (B,h,w,c).
  std::vector<Tensor> roll(const std::vector<RolloutStart>& starts, int64_t frames, const SamplerSettings& settings,
                           int64_t* recomputed = nullptr) {
    WorldSampler sampler(runtime, world, forecaster, settings, starts);
    std::vector<Tensor> made;
    for (int64_t i = 0; i < frames; i++) {
      std::vector<Pose> poses;
      for (const RolloutStart& s : starts) poses.push_back(s.pose(sampler.index()));
      made.push_back(sampler.generate(poses));
      sampler.push(made.back(), poses);
    }
    if (recomputed) *recomputed = sampler.frames_recomputed();
    return made;
  }
};
constexpr SamplerSettings kQuick{.steps = 3};

SamplerSettings with(double guidance, double temperature) {
  SamplerSettings s = kQuick;
  s.guidance = guidance, s.temperature = temperature;
  return s;
}

// ---- rollouts ----

TEST(WorldSampler, ABatchOfRolloutsIsEachAloneBitForBit) {
  Untrained u(true);
  for (const SamplerSettings& s : {kQuick, with(2, 0.5)}) {
    const std::vector<RolloutStart> starts = {u.start(0, 0), u.start(7, 1), u.start(19, 5)};
    const std::vector<Tensor> together = u.roll(starts, 4, s);
    for (size_t b = 0; b < starts.size(); b++) {
      const std::vector<Tensor> alone = u.roll({starts[b]}, 4, s);
      for (size_t i = 0; i < alone.size(); i++)
        EXPECT_EQ(bits_of(together[i].slice(0, int64_t(b), 1).clone()), bits_of(alone[i]))
            << "rollout " << b << ", frame " << i;
    }
  }
}

TEST(WorldSampler, NoiseIsAFunctionOfSeedRolloutAndFrame) {
  Untrained u(true);
  SamplerSettings other_seed = kQuick, mean = with(1, 0), mean_of_another = with(1, 0);
  other_seed.seed = mean_of_another.seed = 2;
  const auto first = [&](const SamplerSettings& s, uint64_t number) {
    return bits_of(u.roll({u.start(5, number)}, 1, s)[0]);
  };
  EXPECT_EQ(first(kQuick, 3), first(kQuick, 3));
  EXPECT_NE(first(kQuick, 3), first(kQuick, 4));
  EXPECT_NE(first(kQuick, 3), first(other_seed, 3));
  EXPECT_NE(first(kQuick, 3), first(mean, 3));
  EXPECT_NE(first(kQuick, 3), first(with(2, 1), 3)) << "guidance";
  EXPECT_EQ(first(mean, 3), first(mean_of_another, 9)) << "temperature 0 leaves no noise";
}

TEST(WorldSampler, WithoutVelocityItIsTheForecastAndScaledNoise) {
  Untrained held(false, true, false), road(false);
  const WorldModelConfig& o = held.world.model->config();
  const int64_t numbers = o.frame_numbers();
  const RolloutStart start = held.start(4, 0), on_road = road.start(4, 0);
  const auto latents = [&](const Untrained& u, int64_t frame) {
    const auto at = u.log.latents.begin() + frame * numbers;
    return u.runtime.from(std::vector<float>(at, at + numbers), {1, o.rows, o.columns, o.latent_channels});
  };
  const std::vector<float> before = latents(held, start.frame(2)).floats();
  EXPECT_EQ(held.roll({start}, 1, with(1, 0))[0].floats(), before);
  EXPECT_EQ(held.roll({start}, 3, with(1, 0))[2].floats(), before) << "and again from its own frames";
  const Tensor forecast =
      road.forecaster({latents(road, on_road.frame(2)), {relative(on_road.pose(2), on_road.pose(3))}},
                      {latents(road, on_road.frame(30)), {relative(on_road.pose(30), on_road.pose(3))}},
                      std::span(&road.log.log->camera, 1));
  EXPECT_EQ(road.roll({on_road}, 1, with(1, 0))[0].floats(), forecast.floats());
  const std::vector<float> noisy = held.roll({start}, 1, kQuick)[0].floats();
  double sum = 0;
  for (size_t i = 0; i < noisy.size(); i++)
    sum += std::pow(double(noisy[i] - before[i]) * double(held.world.notes.residual_gain[i]), 2);
  EXPECT_NEAR(sum / double(numbers), 1, 0.35) << "128 squares of normals";
  Untrained whole(false, false);
  for (float v : whole.roll({whole.start(4, 0)}, 1, with(1, 0))[0].floats())
    EXPECT_EQ(v, 0) << "no residual: the flow's own mean";
}

// Of frames of a drive: by the frame before over a level road, by that frame as it is, and by an anchor a second ahead.
TEST(Forecaster, AMotionOverALevelRoadSaysMoreThanTheLastFrame) {
  Untrained u(false);
  const LatentCodec& codec = u.codec;
  const DrivingLog& log = *u.log.log;
  const int64_t numbers = small().frame_numbers();
  const auto latents = [&](int64_t f) {
    const auto at = u.log.latents.begin() + f * numbers;
    return u.runtime.from(std::vector<float>(at, at + numbers), {1, 4, 8, 4});
  };
  const auto pose = [&](int64_t f) { return log.pose_at(log.frame_times_s[size_t(f)]); };
  const auto error = [&](const Tensor& a, int64_t f) {
    const std::vector<float> x = a.floats(), y = latents(f).floats();
    double sum = 0;
    for (size_t i = 0; i < x.size(); i++) sum += std::pow(double(x[i] - y[i]), 2);
    return sum;
  };
  const Forecaster held(u.runtime, codec, false);
  double by_road = 0, by_last = 0, by_anchor_too = 0, by_wrong_anchor = 0;
  for (int64_t f = 1; f + 5 < log.frame_count(); f += 2) {
    const Forecaster::Seen last{latents(f - 1), {relative(pose(f - 1), pose(f))}};
    const auto with_anchor = [&](const Pose& from) {
      return u.forecaster(last, {latents(f + 5), {relative(from, pose(f))}}, std::span(&log.camera, 1));
    };
    by_last += error(held(last, {}, std::span(&log.camera, 1)), f);
    by_road += error(u.forecaster(last, {}, std::span(&log.camera, 1)), f);
    by_anchor_too += error(with_anchor(pose(f + 5)), f);
    by_wrong_anchor += error(with_anchor(pose(f + 5) * Pose{{0, 3, 0}, {1, 0, 0, 0}}), f);
  }
  EXPECT_LT(by_road, 0.6 * by_last);
  EXPECT_LT(by_anchor_too, 1.2 * by_road);
  EXPECT_GT(by_wrong_anchor, by_anchor_too);
}

TEST(Forecaster, OneFrameServesManyPoses) {
  Untrained u(false);
  const DrivingLog& log = *u.log.log;
  const int64_t numbers = small().frame_numbers();
  const auto latents = [&](std::vector<int64_t> frames) {
    std::vector<float> v;
    for (int64_t f : frames) v.insert(v.end(), u.log.latents.begin() + f * numbers, u.log.latents.begin() + (f + 1) * numbers);
    return u.runtime.from(v, {int64_t(frames.size()), 4, 8, 4});
  };
  const std::vector<Pose> near = {pose_of_euler({2, 0, 0}, {0, 0, 0}), pose_of_euler({2, 0.3, 0}, {0, 0, 0.01})},
                          back = {pose_of_euler({-6, 0, 0}, {0, 0, 0}), pose_of_euler({-5, 1, 0}, {0, 0, 0.02})};
  const std::vector<CameraModel> cameras(2, log.camera);
  const auto once = u.forecaster({latents({3, 4}), near}, {latents({9}), back}, cameras),
             twice = u.forecaster({latents({3, 4}), near}, {latents({9, 9}), back}, cameras);
  EXPECT_EQ(once.floats(), twice.floats());
  EXPECT_NE(once.floats(), u.forecaster({latents({3, 4}), near}, {latents({20}), back}, cameras).floats());
}

// Keys of frames that have left the window live on in those of later frames: the cache has them, a window made anew has
// not.
TEST(WorldSampler, ARecomputedContextIsTheCacheUntilAFrameLeavesTheWindow) {
  Untrained u(true);
  SamplerSettings anew = kQuick;
  anew.recompute = true;
  int64_t cached = -1, recomputed = -1;
  const std::vector<Tensor> a = u.roll({u.start(2, 0)}, 4, kQuick, &cached),
                            b = u.roll({u.start(2, 0)}, 4, anew, &recomputed);
  EXPECT_EQ(bits_of(a[0]), bits_of(b[0])) << "three frames of four";
  EXPECT_EQ(bits_of(a[1]), bits_of(b[1])) << "four frames of four";
  EXPECT_NE(bits_of(a[2]), bits_of(b[2])) << "five";
  EXPECT_EQ(cached, 0);
  EXPECT_EQ(recomputed, 3 + 3 + 3 + 3);  // all, all but the new one, and twice three of four
}

TEST(WorldSampler, PlansAreReadInTheVehiclesFrame) {
  Untrained u(true);
  SamplerSettings s = kQuick;
  s.plan = true;
  WorldSampler sampler(u.runtime, u.world, u.forecaster, s, {u.start(0, 0), u.start(9, 1)});
  const std::vector<Pose> next = sampler.planned();
  ASSERT_EQ(next.size(), 2u);
  for (size_t b = 0; b < 2; b++) {
    const Pose moved = relative(u.start(b ? 9 : 0, 0).pose(2), next[b]);
    for (double v : moved.at) EXPECT_TRUE(std::isfinite(v) && v != 0);
    EXPECT_LT(std::fabs(moved.at[1]), 5) << "metres aside in a fifth of a second, of a scale of 0.7";
  }
  EXPECT_TRUE(holds(error_of([&] { WorldSampler(u.runtime, u.world, u.forecaster, kQuick, {u.start(0, 0)}).planned(); }),
                    "plans are not kept"));
}

TEST(WorldSampler, PosesDecideWhatIsSeen) {
  Untrained u(true);
  const RolloutStart start = u.start(6, 0);
  const auto at = [&](double right_m) {
    WorldSampler sampler(u.runtime, u.world, u.forecaster, kQuick, {start});
    return bits_of(sampler.generate({start.pose(3) * Pose{{0, right_m, 0}, {1, 0, 0, 0}}}));
  };
  EXPECT_EQ(at(0), at(0));
  EXPECT_NE(at(0), at(0.5));
}

TEST(WorldSampler, RefusesRolloutsThatDoNotFit) {
  Untrained u(false);
  const auto refused = [&](const RolloutStart& s) {
    return error_of([&] { WorldSampler(u.runtime, u.world, u.forecaster, kQuick, {s}); });
  };
  RolloutStart late = u.start(0, 0), early = late, past = u.start(29, 0);
  late.anchor = 49, early.anchor = 2;
  EXPECT_TRUE(holds(refused(late), "anchors from frame 49 on; accepted: 3 to 48"));
  EXPECT_TRUE(holds(refused(early), "accepted: 3 to 48"));
  EXPECT_TRUE(holds(refused(past), "frames 29 to 60 of 60 are needed"));
  EXPECT_TRUE(holds(error_of([&] {
                      WorldSampler(u.runtime, u.world, u.forecaster, kQuick, {u.start(0, 0), u.start(0, 1, 4)});
                    }),
                    "accepted: one number"));
}

TEST(DeviatedTrack, ReachesItsOffsetAndStays) {
  Untrained u(false);
  const RolloutStart start = u.start(0, 0);
  const std::vector<Pose> along = log_track(start, 30), right = deviated_track(start, 30, 0.5),
                          left = deviated_track(start, 30, -0.5);
  double before = 0;
  for (size_t i = 0; i < 30; i++) {
    const Pose r = relative(along[i], right[i]), l = relative(along[i], left[i]);
    EXPECT_GE(r.at[1], before - 1e-12) << "frame " << i;
    before = r.at[1];
    EXPECT_NEAR(l.at[1], -r.at[1], 1e-12);
    EXPECT_NEAR(r.at[0], 0, 1e-12);
    EXPECT_NEAR(euler_of(l)[2], -euler_of(r)[2], 1e-6);
    if (i == 12) { EXPECT_GT(euler_of(r)[2], 0.001) << "it looks where it goes, to the right"; }
    if (i >= 24) { EXPECT_NEAR(r.at[1], 0.5, 1e-12); }
    if (i >= 25) { EXPECT_NEAR(euler_of(r)[2], 0, 1e-6); }
  }
}

TEST(ImageScore, OneLevelEverywhereIs48Decibels) {
  Runtime runtime;
  Films a{2, 16, 16, {Film(2 * 16 * 16 * 3, 100)}}, b = a;
  for (size_t i = 0; i < 16 * 16 * 3; i++) b.list[0][i]++;
  const std::vector<ImageScore> s = ImageScorer(runtime, {}).compare(a, b);
  ASSERT_EQ(s.size(), 2u);
  EXPECT_NEAR(s[0].psnr_db, 48.1308, 1e-3);
  EXPECT_GT(s[1].psnr_db, 70) << "equal frames count as one wrong level";
  EXPECT_EQ(s[1].ssim, 1);
  EXPECT_LT(s[0].ssim, 1);
  EXPECT_TRUE(std::isnan(s[0].lpips));
}

TEST(FilmMaker, TrueFramesAndTheLastOneHeldAreTheLogs) {
  Untrained u(false);
  const LatentCodec codec(u.runtime, "");
  const FilmMaker films(u.runtime, u.world, codec);
  RolloutStart start = u.start(1, 0);
  start.step = 2;
  const Films truth = films.recorded({start}, 3), held = films.held({start}, 3);
  const auto frame = [&](int64_t i) {
    const uint8_t* at = u.log.log->frames.data<uint8_t>() + i * truth.frame_bytes();
    return Film(at, at + truth.frame_bytes());
  };
  const auto of = [&](const Films& f, int64_t i) { return Film(f.frame(0, i), f.frame(0, i) + f.frame_bytes()); };
  for (int64_t i = 0; i < 3; i++) {
    EXPECT_EQ(of(truth, i), frame(7 + 2 * i));
    EXPECT_EQ(of(held, i), frame(5));
  }
  u.world.notes.tokenizer_hash = "another";
  EXPECT_TRUE(holds(error_of([&] { FilmMaker(u.runtime, u.world, codec); }), "latents of the tokenizer another"));
}

// ---- training ----

// Six steps of a small model on one drive.
struct Training {
  Runtime runtime;
  LatentCodec codec{runtime, ""};
  Forecaster forecaster{runtime, codec, true};
  Parameters parameters{runtime};
  WorldModel model{parameters, small()};
  WorldData data;
  Trainer trainer;

  explicit Training(Objective (*change)(Objective) = nullptr, int threads = 1)
      : runtime({.threads = threads}),
        data(runtime, {log()}, forecaster, small(), {.sequence = 5, .window_frames = 20}, 1),
        trainer(runtime, parameters, {.steps = 6, .batch = 2, .warmup = 2, .log_every = 1}, 1,
                change ? change(data.objective(model, 2)) : data.objective(model, 2)) {}
  LatentLog log() {
    LatentLog l{drive(runtime, 6), {}};
    l.latents = thumbnails(*l.log);
    return l;
  }
};

// Beside a twentieth of the mean square, which keeps what never changes from growing without limit.
TEST(TrainWorld, TheResidualHasUnitVarianceAtEveryPlace) {
  Training t;
  const int64_t numbers = small().frame_numbers();
  const WorldData data(t.runtime, {t.log()}, t.forecaster, small(),
                       {.sequence = 5, .window_frames = 20, .noise_probability = 0}, 1);
  EXPECT_EQ(data.residual_gain(), t.data.residual_gain()) << "measured without the noise of training";
  const std::vector<float>& gain = data.residual_gain();
  std::vector<double> square(static_cast<size_t>(numbers));
  double mean = 0, frames = 0;
  for (uint64_t k = 0; k < std::min<uint64_t>(256, data.windows()); k++) {
    const std::vector<float> x0 = data.batch(k, 1).x0.values;
    frames += double(x0.size()) / double(numbers);
    for (size_t i = 0; i < x0.size(); i++) {
      const double residual = double(x0[i]) / double(gain[i % square.size()]);
      square[i % square.size()] += residual * residual;
    }
  }
  for (double& s : square) s /= frames, mean += s / double(numbers);
  for (size_t i = 0; i < square.size(); i++) {
    if (i % 4 == 3) EXPECT_EQ(gain[i], 1) << "thumbnails have three channels";
    else EXPECT_NEAR(double(gain[i]) * double(gain[i]) * (square[i] + 0.05 * mean), 1.05, 1e-3) << i;
  }
  EXPECT_GT(*std::max_element(square.begin(), square.end()), 3 * mean) << "places differ";
  DrivingLog unknown = *t.log().log;
  unknown.camera.height_m = 0;
  LatentLog log{std::make_shared<DrivingLog>(unknown), t.log().latents};
  EXPECT_TRUE(holds(error_of([&] { WorldData(t.runtime, {log}, t.forecaster, small(), {.sequence = 5, .window_frames = 20}, 1); }),
                    "is not known; accepted: --no-level-road"));
}

TEST(TrainWorld, AnInterruptedRunGoesOnAsIfItHadNotBeen) {
  Folder folder;
  const auto run = [&](const char* name, bool resume, Objective (*change)(Objective)) {
    Training t(change);
    return run_training(t.runtime, t.parameters, t.trainer,
                        {.kind = "world",
                         .settings = json::object(),
                         .checkpoint = folder.file(name),
                         .log = folder.file(name) + ".jsonl",
                         .label = "world",
                         .resume = resume,
                         .quiet = true});
  };
  const TrainingResult whole = run("whole", false, nullptr);
  const TrainingResult part = run("part", false, +[](Objective f) {
    return Objective([f](const StepInfo& info) {
      if (info.step == 2) std::raise(SIGINT);
      return f(info);
    });
  });
  EXPECT_TRUE(part.interrupted);
  EXPECT_EQ(part.steps, 3);
  EXPECT_NE(part.weights_hash, whole.weights_hash);
  const TrainingResult rest = run("part", true, nullptr);
  EXPECT_FALSE(rest.interrupted);
  EXPECT_EQ(rest.weights_hash, whole.weights_hash);
  const std::vector<json> a = read_json_lines(folder.file("whole.jsonl")),
                          b = read_json_lines(folder.file("part.jsonl"));
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 1; i < a.size(); i++) {
    EXPECT_EQ(a[i]["step"], b[i]["step"]);
    EXPECT_EQ(a[i]["losses"], b[i]["losses"]);
    EXPECT_EQ(a[i]["grad_norm"], b[i]["grad_norm"]);
  }
}

TEST(TrainWorld, TheLedgerNamesAFlippedBitOfAWeight) {
  Folder folder;
  const auto record = [&](const std::string& name, bool flip) {
    Training t;
    if (flip) {
      const Tensor& weight = t.parameters.at("blocks.1.attention.qkv.weight").value;
      std::vector<float> v = weight.floats();
      v[77] = std::bit_cast<float>(std::bit_cast<uint32_t>(v[77]) ^ 1u << 3);
      weight.copy_from(std::span<const float>(v));
    }
    t.runtime.ledger = std::make_unique<LedgerWriter>(folder.file(name));
    t.trainer.advance();
    t.runtime.ledger->close();
    return read_ledger(folder.file(name));
  };
  const Ledger good = record("good", false);
  EXPECT_TRUE(diff(good, record("again", false)).identical);
  const LedgerDiff d = diff(good, record("bad", true));
  EXPECT_FALSE(d.identical);
  EXPECT_EQ(d.step, 0);
  EXPECT_EQ(d.element, 77) << d.what;
  std::string bytes = folder.read("good");
  bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 4);
  EXPECT_FALSE(error_of([&] { parse_ledger(bytes, "copy"); }).empty()) << "a copy with a flipped bit is refused";
}

// ---- the commands ----

// A command line with options replaced or added.
std::vector<std::string> with(std::vector<std::string> line, const std::vector<std::string>& options) {
  for (size_t i = 0; i + 1 < options.size(); i += 2)
    if (const auto at = std::find(line.begin(), line.end(), options[i]); at != line.end()) line.erase(at, at + 2);
  line.insert(line.end(), options.begin(), options.end());
  return line;
}

class World : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    train("one", "1");
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string file(const std::string& name) { return folder_->file(name); }
  static json train(const std::string& name, const char* threads) {
    run_command(cli::add_train,
                {"train", "world", "--preset", "tiny", "--steps", "4", "--seconds", "12", "--threads", threads,
                 "--quiet", "--out", file(name), "--json", file(name + ".json"), "--ledger", file(name + ".ledger")});
    return read_json(file(name + ".json"));
  }
  static json sample(const std::vector<std::string>& more, const std::string& out = "sample") {
    const std::vector<std::string> all = {"sample",
                                    "--world",
                                    file("one/world.safetensors"),
                                    "--out",
                                    file(out),
                                    "--json",
                                    file(out + ".json"),
                                    "--quiet",
                                    "--seconds",
                                    "12",
                                    "--context-frames",
                                    "3",
                                    "--frames",
                                    "4",
                                    "--steps",
                                    "2"};
    run_command(cli::add_sample, with(all, more));
    return read_json(file(out + ".json"));
  }
  static json evaluate(const std::vector<std::string>& more, const std::string& out = "eval") {
    const std::vector<std::string> all = {"eval",    "world",
                                    "--world", file("one/world.safetensors"),
                                    "--out",   file(out),
                                    "--json",  file(out + ".json"),
                                    "--quiet", "--drives",
                                    "2",       "--seconds",
                                    "12",      "--context-frames",
                                    "3",       "--steps",
                                    "2",       "--samples",
                                    "5",       "--rollouts",
                                    "3",       "--rollout-frames",
                                    "6"};
    run_command(cli::add_eval, with(all, more));
    return read_json(file(out + ".json"));
  }
  static void expect_figures(const json& j) {
    for (const auto& [key, value] : j.items()) {
      if (value.is_number()) { EXPECT_TRUE(std::isfinite(value.get<double>())) << key; }
      if (key.ends_with("psnr_db")) {
        EXPECT_TRUE(value.is_array() || value.is_number()) << key << ": " << value.dump();
      }
    }
  }

  static inline Folder* folder_ = nullptr;
};

TEST_F(World, TrainsToTheSameWeightsAndLedgerOnAnyNumberOfThreads) {
  const json one = read_json(file("one.json")), two = train("two", "2");
  EXPECT_EQ(one["weights_hash"], two["weights_hash"]);
  EXPECT_EQ(one["steps"], 4);
  EXPECT_TRUE(folder_->read("one.ledger") == folder_->read("two.ledger"));
  EXPECT_EQ(read_ledger(file("one.ledger")).size(), 4u);
}

TEST_F(World, SamplesFollowEverySourceOfPoses) {
  std::string poses = "# x y z roll pitch yaw\n";
  for (int i = 0; i < 4; i++) poses += format("{}, 0.1 0 0 0 {}\n", 6 + 2 * i, 0.01 * i);
  folder_->write("poses.csv", poses);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--pose", "log"}, {"--pose", "deviation", "--deviation-m", "-0.5", "--guidance", "2"},
        {"--pose", "file", "--poses", file("poses.csv"), "--temperature", "0.5"}, {"--pose", "plan"}}) {
    const json j = sample(how);
    EXPECT_EQ(j["frames"], 4) << how[1];
    EXPECT_GT(j["ms_per_frame"].get<double>(), 0);
    EXPECT_EQ(j["context_recomputed"], 0);
    EXPECT_EQ(j.contains("psnr_db"), how[1] == "log");
    const Image strip = read_image(file("sample/sample.png"));
    EXPECT_EQ(strip.width, 4 * 68 - 4);
    EXPECT_EQ(strip.height, 2 * 36 - 4);
    if (has_video()) { EXPECT_EQ(VideoReader(file("sample/sample.mp4")).info().frames, 7); }
  }
  EXPECT_EQ(sample({"--context", "recompute"})["context_recomputed"], 3 + 3 * 2)
      << "a window of three, of which one is new";
}

TEST_F(World, EvaluatesAndReports) {
  const json j = evaluate({});
  expect_figures(j);
  EXPECT_EQ(j["samples"], 5);
  EXPECT_EQ(j["sequential_psnr_db"].size(), 6u);
  EXPECT_EQ(j["copy_last_sequential_psnr_db"].size(), 6u);
  EXPECT_GT(j["tokenizer_psnr_db"], j["next_frame_psnr_db"]);
  EXPECT_GT(j["copy_last_sequential_psnr_db"][0], j["copy_last_sequential_psnr_db"][5]) << "what is held grows old";
  EXPECT_EQ(j["first_anchor_after_frames"], 10);
  EXPECT_TRUE(j["measured_left_m"].is_null());
  json other = evaluate({"--batch", "1", "--threads", "2"}, "again");
  for (const char* key : {"next_frame_psnr_db", "sequential_psnr_db", "next_frame_ssim"})
    EXPECT_EQ(j[key], other[key]) << key;

  run_command(cli::add_report,
              {"report", "--world", file("eval"), "--world-json", file("one.json"), "--log",
               file("one/world.log.jsonl"), "--seconds", "build=12.5", "--out", file("report"), "--quiet"});
  const json metrics = read_json(file("report/metrics.json"));
  EXPECT_EQ(metrics["world"]["next_frame_psnr_db"], j["next_frame_psnr_db"]);
  EXPECT_EQ(metrics["weights_hash"]["world"], read_json(file("one.json"))["weights_hash"]);
  EXPECT_EQ(metrics["seconds"]["build"], 12.5);
  const std::string page = folder_->read("report/report.html");
  size_t pictures = 0;
  for (size_t at = page.find("<img"); at != page.npos; at = page.find("<img", at + 1)) pictures++;
  EXPECT_EQ(pictures, 4u * 4 + 3u * 5);
  EXPECT_TRUE(holds(page, "PSNR over a rollout"));
}

TEST_F(World, TargetsLieWhereTheyAreAskedFor) {
  const json j = evaluate({"--targets", "20:24", "--rollout-frames", "20", "--samples", "100"}, "few");
  EXPECT_EQ(j["samples"], 2 * 4) << "four frames of two drives";
  EXPECT_EQ(j["sequential_psnr_db"].size(), 4u) << "as many frames as there are targets";
}

TEST_F(World, ABadInputGivesOneLine) {
  const auto refused = [&](auto run, std::vector<std::string> more) { return error_of([&] { run(more, "bad"); }); };
  EXPECT_TRUE(holds(refused(sample, {"--pose", "elsewhere"}), "accepted: log, deviation, file, plan"));
  EXPECT_TRUE(holds(refused(sample, {"--pose", "file"}), "--poses FILE goes with --pose file"));
  EXPECT_TRUE(holds(refused(sample, {"--start", "1"}), "--start 1: "));
  EXPECT_TRUE(holds(refused(sample, {"--frames", "46"}), "with 2 anchors a rollout has at most 48 frames"));
  EXPECT_TRUE(holds(refused(sample, {"--context", "none"}), "accepted: cache, recompute"));
  EXPECT_TRUE(holds(refused(sample, {"--tokenizer", file("one/world.safetensors")}), "tokenizer"));
  folder_->write("short.txt", "1 2 3 4 5 6\n");
  folder_->write("five.txt", "1 2 3 4 5\n");
  folder_->write("words.txt", "1 2 3\n4 5 six\n");
  EXPECT_TRUE(holds(refused(sample, {"--pose", "file", "--poses", file("short.txt")}), "1 poses for 4 frames"));
  EXPECT_TRUE(
      holds(refused(sample, {"--pose", "file", "--poses", file("five.txt")}), "five.txt:1: 5 numbers; accepted: six"));
  EXPECT_TRUE(holds(refused(sample, {"--pose", "file", "--poses", file("words.txt")}), "words.txt:1: 3 numbers"));
  EXPECT_TRUE(holds(refused(evaluate, {"--targets", "9"}), "--targets: '9' is no range"));
  EXPECT_TRUE(holds(refused(evaluate, {"--targets", "58:60"}), "no frame of --targets 58:60 has 3 frames"));
  EXPECT_TRUE(holds(refused(evaluate, {"--context", "x"}), "accepted: cache, recompute"));
  EXPECT_TRUE(holds(error_of([] { run_command(cli::add_report, {"report"}); }), "nothing to report"));
}

}  // namespace
}  // namespace dr::test
