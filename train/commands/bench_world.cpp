#include "train/commands/bench_world.h"

#include "kernels/add/add.h"
#include "model/world_rollout.h"
#include "train/world_data.h"

namespace dr::cli {

namespace {

constexpr int64_t kSequence = 10, kEulerSteps = 15, kRecompute = 12;  // kRecompute: as the preset's

Tensor random(Runtime& r, const Sizes& sizes, const std::string& what, uint64_t seed, double mean = 0,
              double deviation = 1) {
  const Tensor t = r.empty(DType::f32, sizes);
  harness::fill(t, normal(sizes, mean, deviation), "world", what, seed);
  return t;
}

void set_weights(const Parameters& parameters, uint64_t seed) {
  for (const Parameter& p : parameters)
    harness::fill(p.value, normal(p.value.sizes(), p.name.ends_with("norm.weight") ? 1 : 0, 0.02), "world", p.name, seed);
}

// A hundred frames of a gentle bend at 15 m/s, with poses at 20 Hz; its pictures are never looked at.
std::shared_ptr<const DrivingLog> drive() {
  constexpr int64_t kFrames = 100, kPoses = 400;
  auto log = std::make_shared<DrivingLog>();
  log->kind = "bench", log->where = "bench";
  log->camera.width = log->camera.height = 1;
  for (int64_t i = 0; i < kFrames; i++) log->frame_times_s.push_back(0.2 * double(i));
  log->frames = HostArray::from(std::vector<uint8_t>(size_t(kFrames) * 3), {kFrames, 1, 1, 3});
  for (int64_t i = 0; i < kPoses; i++) {
    const double t = 0.05 * double(i);
    log->times_s.push_back(t);
    log->poses.push_back(pose_of_euler({15 * t, 0.1 * t * t, 0}, {0, 0, 0.01 * t}));
  }
  return log;
}

struct TrainingStep {
  Runtime& runtime;
  Parameters parameters{runtime};
  LatentCodec codec;
  WorldModel model;
  WorldData data;
  Trainer trainer;

  TrainingStep(Runtime& r, bool many_targets, uint64_t seed)
      : runtime(r), codec(r, ""), model(parameters, gpt_world_model()),
        data(r, {latents(seed)}, Forecaster(r, codec, false), model.config(),
             {.sequence = kSequence, .many_targets = many_targets, .recompute = kRecompute}, seed),
        trainer(r, parameters, {.batch = 1, .lr = 1e-5, .average = 0}, seed, data.objective(model, 1)) {
    set_weights(parameters, seed);
  }
  static LatentLog latents(uint64_t seed) {
    const std::shared_ptr<const DrivingLog> log = drive();
    std::vector<float> v(size_t(log->frame_count() * gpt_world_model().frame_numbers()));
    const Sizes sizes{int64_t(v.size())};
    harness::fill(View(v.data(), DType::f32, sizes), normal(sizes), "world", "latents", seed);
    return {log, std::move(v)};
  }
};

struct SampledFrame {
  Runtime& runtime;
  Parameters parameters{runtime};
  WorldModel model;
  WorldRollout rollout;
  Tensor noise, last;
  FrameConditions conditions;

  SampledFrame(Runtime& r, uint64_t seed)
      : runtime(r), model(parameters, gpt_world_model()), rollout(r, model, 1, taus(parameters, seed)) {
    const WorldModelConfig& o = model.config();
    const Sizes latent{1, o.rows, o.columns, o.latent_channels};
    noise = random(r, latent, "noise", seed);
    FramePose pose;
    pose.motion = {3, 0.05, 0.01, 0.001, 0.002, 0.01}, pose.place = {30, 1, 0.1, 0.01, 0.02, 0.1};
    conditions.add(pose, o.window, 0);
    last = r.zeros(DType::f32, latent);
    for (int64_t i = 0; i < o.anchors + o.window; i++) {
      const Tensor frame = random(r, latent, format("frame {}", i), seed);
      if (i < o.anchors) rollout.add_anchor(frame, last, conditions);
      else rollout.append(frame, last, conditions);
      last = frame;
    }
  }
  // The rollout reads the weights as it is made.
  static std::vector<float> taus(const Parameters& parameters, uint64_t seed) {
    set_weights(parameters, seed);
    return euler_schedule(kEulerSteps);
  }
  void operator()() {
    rollout.begin_frame(last, conditions, false);
    const Tensor next = evaluate(runtime, Add{}, last, rollout.generate(noise, 1));
    rollout.append(next, last, conditions);
    last = next;
  }
};

}  // namespace

std::vector<ModelCase> world_cases() {
  const WorldModelConfig o = gpt_world_model();
  const auto name = [&](int64_t clean, int64_t targets) {
    return format("gpt,A={},N={},T={},S={},C={},H={},M={},layers={},shared={},f32", o.anchors, clean, targets, o.tokens(),
                  o.channels, o.heads, o.mlp_ratio * o.channels, o.layers, int(o.shared_modulation));
  };
  return {{"world_step", name(kSequence - 1, 1), true, 1},
          {"world_step", name(kSequence, kSequence - 1), true, kSequence - 1},
          {"world_frame", name(o.window, 1), true, 1}};
}

std::function<void()> make_world_case(Runtime& r, const ModelCase& c, uint64_t seed) {
  if (c.op == "world_frame") return [frame = std::make_shared<SampledFrame>(r, seed)] { (*frame)(); };
  return [step = std::make_shared<TrainingStep>(r, c.targets > 1, seed)] { step->trainer.advance(); };
}

}  // namespace dr::cli
