#include "train/world_sampler.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/host_math.h"
#include "kernels/core/philox.h"

namespace dr {

namespace {

constexpr uint32_t kNoiseOp = 0x3a7d0004;  // Philox op id

}  // namespace

WorldSampler::WorldSampler(Runtime& runtime, const LoadedWorldModel& world, const Forecaster& forecaster,
                           const SamplerSettings& settings, std::vector<RolloutStart> starts)
    : runtime_(runtime),
      world_(world),
      forecaster_(forecaster),
      settings_(settings),
      starts_(std::move(starts)),
      rollout_(runtime, *world.model, batch(), euler_schedule(settings.steps)) {
  const WorldModelConfig& config = world.model->config();
  CHECK(!starts_.empty(), "world sampler: no rollouts");
  CHECK(settings.temperature >= 0, "world sampler: a temperature of {}; accepted: 0 or more", settings.temperature);
  const int64_t context = starts_[0].context;
  for (const RolloutStart& s : starts_) {
    CHECK(s.context == context && context > 0,
          "world sampler: rollouts of {} and {} given frames; accepted: one number, above 0", context, s.context);
    const int64_t frames =
        config.anchors > 0 ? s.anchor + config.anchors : context;  // from the first to the last given one
    CHECK(config.anchors == 0 || (s.anchor >= context && frames <= kWindowFrames),
          "world sampler: anchors from frame {} on; accepted: {} to {}", s.anchor, context,
          kWindowFrames - config.anchors);
    CHECK(s.first >= 0 && s.frame(frames - 1) < s.log().frame_count(),
          "{}: frames {} to {} of {} are needed for a rollout", s.log().where, s.first, s.frame(frames - 1),
          s.log().frame_count());
    CHECK(int64_t(s.source->latents.size()) == s.log().frame_count() * config.frame_numbers(),
          "{}: {} latents for {} frames of {}", s.log().where, s.source->latents.size(), s.log().frame_count(),
          config.frame_numbers());
    cameras_.push_back(s.log().camera);
  }
  const Tensor none = runtime.zeros(DType::f32, {batch(), config.rows, config.columns, config.latent_channels});
  Frame last, first_anchor;  // anchors themselves are forecast without it
  for (int64_t a = 0; a < config.anchors; a++) {
    Frame f = given([&](const RolloutStart& s) { return s.anchor + a; });
    f.forecast = a == 0 ? none : forecast(last, f.poses);
    rollout_.add_anchor(f.latent, f.forecast, f.conditions);
    last = std::move(f);
    if (a == 0) first_anchor = last;
  }
  anchor_ = std::move(first_anchor);
  for (int64_t k = 0; k < context; k++) {
    Frame f = given([&](const RolloutStart&) { return k; });
    f.forecast = k == 0 ? none : forecast(frames_.back(), f.poses);
    append(f);
    frames_.push_back(std::move(f));
  }
  settled_ = frames_.size();
}

// The frames of the logs at an index, without a forecast.
WorldSampler::Frame WorldSampler::given(const std::function<int64_t(const RolloutStart&)>& index) const {
  const WorldModelConfig& o = world_.model->config();
  std::vector<float> latents;
  Frame f;
  for (const RolloutStart& s : starts_) {
    const int64_t i = index(s);
    const auto at = s.source->latents.begin() + s.frame(i) * o.frame_numbers();
    latents.insert(latents.end(), at, at + o.frame_numbers());
    f.conditions.add(frame_pose(s.log(), s.time_s(i), s.time_s(0)), i, 0);
    f.poses.push_back(s.pose(i));
  }
  f.latent = runtime_.from(latents, {batch(), o.rows, o.columns, o.latent_channels});
  return f;
}

// From the frame before and the first anchor, where it is there already.
Tensor WorldSampler::forecast(const Frame& before, const std::vector<Pose>& poses) const {
  Forecaster::Seen last{before.latent, {}}, ahead{anchor_.latent, {}};
  for (size_t b = 0; b < poses.size(); b++) {
    last.motions.push_back(relative(before.poses[b], poses[b]));
    if (ahead.latents) ahead.motions.push_back(relative(anchor_.poses[b], poses[b]));
  }
  return forecaster_(last, ahead, cameras_);
}

Tensor WorldSampler::forecast(const std::vector<Pose>& poses) {
  expect_next(poses);
  if (poses != forecast_at_) {
    forecast_ = forecast(frames_.back(), poses);
    forecast_at_ = poses;
  }
  return forecast_;
}

void WorldSampler::expect_next(const std::vector<Pose>& poses) const {
  CHECK(poses.size() == starts_.size(), "world sampler: {} poses for {} rollouts", poses.size(), starts_.size());
  CHECK(index() < kWindowFrames, "world sampler: a rollout ends after {} frames, those that are given included",
        kWindowFrames);
}

FrameConditions WorldSampler::at(const std::vector<Pose>& poses) const {
  expect_next(poses);
  FrameConditions c;
  for (size_t b = 0; b < starts_.size(); b++)
    c.add(frame_pose(relative(frames_.back().poses[b], poses[b]), relative(frames_[0].poses[b], poses[b])), index(), 0);
  return c;
}

void WorldSampler::append(const Frame& frame) {
  rollout_.append(frame.latent, frame.forecast, frame.conditions, settings_.plan ? &plan_ : nullptr);
}

// The keys and values of all frames so far, or of the window anew.
void WorldSampler::settle() {
  if (settled_ == frames_.size() && !settings_.recompute) return;
  size_t begin = settled_;
  if (settings_.recompute) {
    begin = frames_.size() - std::min(frames_.size(), size_t(world_.model->config().window));
    rollout_.forget_context();
    recomputed_ += int64_t(settled_) - int64_t(begin);
  }
  for (size_t i = begin; i < frames_.size(); i++) append(frames_[i]);
  settled_ = frames_.size();
}

Tensor WorldSampler::noise() const {
  const WorldModelConfig& o = world_.model->config();
  const auto numbers = uint64_t(o.frame_numbers());
  std::vector<float> z;
  for (const RolloutStart& s : starts_)
    for (uint64_t i = 0; i < numbers; i++) {
      const uint64_t element = s.number * numbers + i;
      const RandomStream stream{settings_.seed, uint32_t(index()), kNoiseOp};
      z.push_back(float(settings_.temperature) * normal(random_block(stream, element / 4), int(element % 4)));
    }
  return runtime_.from(z, {batch(), o.rows, o.columns, o.latent_channels});
}

Tensor WorldSampler::generate(const std::vector<Pose>& poses) {
  const FrameConditions conditions = at(poses);
  settle();
  const Tensor expected = forecast(poses);
  rollout_.begin_frame(expected, conditions, settings_.guidance != 1);
  std::vector<float> x = rollout_.generate(noise(), float(settings_.guidance)).floats();
  if (world_.model->config().residual) {
    const std::vector<float> base = expected.floats();
    const std::vector<float>& gain = world_.notes.residual_gain;
    for (size_t i = 0; i < x.size(); i++) x[i] = base[i] + x[i] / gain[i % gain.size()];
  }
  return runtime_.from(x, expected.sizes());
}

void WorldSampler::push(const Tensor& latents, const std::vector<Pose>& poses) {
  frames_.push_back({latents, forecast(poses), at(poses), poses});
  forecast_at_.clear();
}

std::vector<Pose> WorldSampler::planned() {
  CHECK(settings_.plan, "world sampler: plans are not kept");
  settle();
  int64_t after = 0;  // the plan's points around the next frame's time
  while (plan_time_s(after) < kFrameS) after++;
  const double share = (kFrameS - plan_time_s(after - 1)) / (plan_time_s(after) - plan_time_s(after - 1));
  const std::vector<float> mean = plan_.mean.floats(), logits = plan_.logits.floats();
  const int64_t guesses = plan_.logits.size(1);
  std::vector<Pose> next;
  for (int64_t b = 0; b < batch(); b++) {
    const auto row = logits.begin() + b * guesses;
    const int64_t best = std::max_element(row, row + guesses) - row;
    const auto number = [&](int64_t k) {
      const auto read = [&](int64_t point) {
        const auto i = size_t(point * kPlanNumbers + k);
        return double(mean[size_t((b * guesses + best) * kPlanSize) + i]) * double(plan_scale()[i]);
      };
      return read(after - 1) + share * (read(after) - read(after - 1));
    };
    next.push_back(frames_.back().poses[size_t(b)] *
                   pose_of_euler({number(0), number(1), number(2)}, {number(9), number(10), number(11)}));
  }
  return next;
}

std::vector<Pose> log_track(const RolloutStart& start, int64_t frames) {
  const int64_t last = start.frame(start.context + frames - 1);
  CHECK(last < start.log().frame_count(), "{}: a rollout needs the pose of frame {}; the log has {}", start.log().where,
        last, start.log().frame_count());
  std::vector<Pose> track;
  for (int64_t k = 0; k < frames; k++) track.push_back(start.pose(start.context + k));
  return track;
}

double deviation_share(int64_t frames) {
  const double u = std::min(1.0, double(frames) / double(kDeviationFrames));
  return u * u * u * (10 - 15 * u + 6 * u * u);
}

std::vector<Pose> deviated_track(const RolloutStart& start, int64_t frames, double right_m) {
  std::vector<Pose> track = log_track(start, frames);
  Pose before = start.pose(start.context - 1);
  for (int64_t k = 0; k < frames; k++) {
    Pose& at = track[size_t(k)];
    const double forward_m = relative(before, at).at[0];
    before = at;
    const double u = std::min(1.0, double(k + 1) / double(kDeviationFrames)), offset = right_m * deviation_share(k + 1);
    const double aside = right_m * 30 * u * u * (1 - u) * (1 - u) / double(kDeviationFrames);  // metres per frame
    // A vehicle that stands would have to turn across its lane to move aside: it looks as if it crept.
    at = at * pose_of_euler({0, offset, 0}, {0, 0, canonical::atan2(aside, std::max(forward_m, 0.5))});
  }
  return track;
}

}  // namespace dr
