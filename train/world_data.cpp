#include "train/world_data.h"

#include <cmath>

#include "kernels/concat/concat.h"
#include "kernels/core/host_math.h"
#include "kernels/core/philox.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/mhp_laplace/mhp_laplace.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/reduce/reduce.h"
#include "train/plan_target.h"

namespace dr {

namespace {

constexpr uint32_t kTauOp = 0x3a7d0001, kNoiseOp = 0x3a7d0002, kChoiceOp = 0x3a7d0003;  // Philox op ids

float logit_normal(double mean, double deviation, float z) {
  const float t = float(mean + deviation * double(z));
  return 1 / (1 + canonical::exp(-t));
}

// What is known of `frames`, one after the other; of those not known yet make(frames) gives it, equally much of each.
template <class T, class Make>
std::vector<T> made_once(std::vector<std::vector<T>>& known, std::span<const int64_t> frames, Make&& make) {
  std::vector<int64_t> missing;
  for (const int64_t f : frames)
    if (known[size_t(f)].empty()) missing.push_back(f);
  if (!missing.empty()) {
    const std::vector<T> made = make(std::span<const int64_t>(missing));
    const size_t each = made.size() / missing.size();
    for (size_t i = 0; i < missing.size(); i++)
      known[size_t(missing[i])].assign(made.begin() + ptrdiff_t(i * each), made.begin() + ptrdiff_t((i + 1) * each));
  }
  std::vector<T> all;
  for (const int64_t f : frames) all.insert(all.end(), known[size_t(f)].begin(), known[size_t(f)].end());
  return all;
}

}  // namespace

const Fields<WorldObjectiveSettings>& world_objective_fields() {
  using S = WorldObjectiveSettings;
  static const Fields<S> list = {
      {"sequence", &S::sequence, "frames of a training sequence, without its anchors", 2, kWindowFrames},
      {"window-frames", &S::window_frames, "frames of the log that sequence and anchors lie in", 3, kWindowFrames},
      {"noise-probability", &S::noise_probability, "of a sequence whose context is noised", 0, 1},
      {"noise-mean", &S::noise_mean, "mean of the logit of that noise's tau", -20, 20},
      {"noise-deviation", &S::noise_deviation, "standard deviation of it", 0, 20},
      {"pose-dropout", &S::pose_dropout, "probability that a target's pose is withheld", 0, 1},
      {"plan-weight", &S::plan_weight, "of the plan head's loss", 0, 100},
      {"many-targets", &S::many_targets, "a loss at every frame of a sequence; else at the last alone"},
      {"recompute", &S::recompute, "blocks whose hidden layer backward computes again: less memory, the same bits", 0, 1000},
  };
  return list;
}

FramePose frame_pose(const DrivingLog& log, double time_s, double first_s) {
  const Pose at = log.pose_at(time_s);
  // A log's first frame has no pose before it: the motion after it stands in.
  const bool starts = time_s - kFrameS < log.times_s.front() - 1e-6;
  const Pose moved = starts ? relative(at, log.pose_at(time_s + kFrameS)) : relative(log.pose_at(time_s - kFrameS), at);
  return frame_pose(moved, relative(log.pose_at(first_s), at));
}

FramePose frame_pose(const Pose& motion, const Pose& place) {
  const Vec3 turned = euler_of(motion), heading = euler_of(place);
  FramePose p;
  for (size_t k = 0; k < 3; k++) {
    p.motion[k] = motion.at[k], p.motion[3 + k] = turned[k];
    p.place[k] = place.at[k], p.place[3 + k] = heading[k];
  }
  return p;
}

WorldData::WorldData(Runtime& runtime, std::vector<LatentLog> logs, const Forecaster& forecaster,
                     const WorldModelConfig& config, const WorldObjectiveSettings& settings, uint64_t seed)
    : runtime_(runtime), logs_(std::move(logs)), forecaster_(forecaster), config_(config), settings_(settings), seed_(seed) {
  CHECK(settings.sequence + config.anchors <= settings.window_frames,
        "world model: a sequence of {} frames and {} anchors do not fit into {} frames", settings.sequence, config.anchors,
        settings.window_frames);
  Logs plain;
  const int64_t n = config.frame_numbers();
  for (const LatentLog& l : logs_) {
    CHECK(int64_t(l.latents.size()) == l.log->frame_count() * n, "{}: {} latents for {} frames of {}", l.log->where,
          l.latents.size(), l.log->frame_count(), n);
    CHECK(!config.level_road || l.log->camera.height_m > 0,
          "{}: the height of its camera above the road is not known; accepted: --no-level-road", l.log->where);
    plain.push_back(l.log);
    Known& known = known_.emplace_back();
    known.pictures.resize(size_t(l.log->frame_count())), known.by_last.resize(size_t(l.log->frame_count()));
  }
  loader_ = std::make_unique<Loader>(plain, LoaderSettings{.frames = int(settings.sequence), .anchors = int(config.anchors),
                                                           .window = int(settings.window_frames), .batch = 1, .rank = 0,
                                                           .ranks = 1, .prefetch = 0, .seed = seed});
  gain_ = config.residual ? measured_gain() : std::vector<float>(size_t(n), 1.0f);
}

// Frame f of a sequence, its anchors first, is this one of its log.
int64_t WorldData::frame_of(const Window& w, int64_t f) const {
  return w.first + (f < config_.anchors ? w.anchor + f : f - config_.anchors) * w.step;
}

// (N,h,w,c) of frames of a log.
Tensor WorldData::latents_of(size_t log, std::span<const int64_t> frames) const {
  const int64_t numbers = config_.frame_numbers();
  const auto begin = logs_[log].latents.begin();
  std::vector<float> all;
  for (const int64_t f : frames) all.insert(all.end(), begin + f * numbers, begin + (f + 1) * numbers);
  return runtime_.from(all, {int64_t(frames.size()), config_.rows, config_.columns, config_.latent_channels});
}

// (N,H,W,3) u8 of frames of a log.
Tensor WorldData::pictures_of(size_t log, std::span<const int64_t> frames) const {
  const std::vector<uint8_t> all = made_once(known_[log].pictures, frames, [&](std::span<const int64_t> missing) {
    return forecaster_.pictures(latents_of(log, missing)).to_vector<uint8_t>();
  });
  constexpr int64_t r = Tokenizer::kReduction;
  return runtime_.from(all, {int64_t(frames.size()), config_.rows * r, config_.columns * r, 3});
}

// (N,h,w,c): of frames of a log, each from the frame `step` before it and from an anchor or none.
std::vector<float> WorldData::forecast(size_t log, int64_t step, std::span<const int64_t> frames,
                                       std::optional<int64_t> anchor) const {
  const DrivingLog& l = *logs_[log].log;
  const auto pose = [&](int64_t f) { return l.pose_at(l.frame_times_s[size_t(f)]); };
  std::vector<int64_t> last;
  Forecaster::Seen before, ahead;
  for (const int64_t f : frames) {
    last.push_back(f - step);
    before.motions.push_back(relative(pose(f - step), pose(f)));
    if (anchor) ahead.motions.push_back(relative(pose(*anchor), pose(f)));
  }
  if (forecaster_.level_road()) {
    before.pictures = pictures_of(log, last);
    if (anchor) ahead.pictures = pictures_of(log, {&*anchor, 1});
  } else {
    before.latents = latents_of(log, last);
  }
  return forecaster_(before, ahead, std::vector<CameraModel>(frames.size(), l.camera)).floats();
}

// Of all frames of a sequence, (A+sequence,h,w,c). The first anchor and the first frame have none: zeros.
std::vector<float> WorldData::forecasts(const Window& w) const {
  const int64_t a = config_.anchors;
  const size_t log = size_t(w.log);
  const auto frames = [&](int64_t begin, int64_t end) {
    std::vector<int64_t> list;
    for (int64_t f = begin; f < end; f++) list.push_back(frame_of(w, f));
    return list;
  };
  const std::vector<float> none(static_cast<size_t>(config_.frame_numbers()));
  std::vector<float> all;
  const auto add = [&](const std::vector<float>& latents) { all.insert(all.end(), latents.begin(), latents.end()); };
  if (a > 0) {  // the same whatever the sequence
    add(none);
    add(made_once(known_[log].by_last, frames(1, a),
                  [&](std::span<const int64_t> missing) { return forecast(log, w.step, missing, {}); }));
  }
  add(none);
  add(forecast(log, w.step, frames(a + 1, a + settings_.sequence), a > 0 ? std::optional(frame_of(w, 0)) : std::nullopt));
  return all;
}

std::vector<float> WorldData::measured_gain() const {
  constexpr uint64_t kWindows = 256;
  // Of the mean square: what hardly ever changes is not blown up without limit. What never does is left as it is.
  constexpr double kSteadiest = 0.05;
  const int64_t a = config_.anchors, n = config_.frame_numbers();
  std::vector<double> squares(static_cast<size_t>(n));
  double frames = 0, sum = 0;
  for (uint64_t k = 0; k < std::min(kWindows, windows()); k++) {
    const Window w = loader_->window(k);
    const std::vector<float> expected = forecasts(w);
    for (int64_t f = a + 1; f < a + settings_.sequence; f++, frames++)
      for (int64_t i = 0; i < n; i++) {
        const double d = double(logs_[size_t(w.log)].latents[size_t(frame_of(w, f) * n + i)]) - double(expected[size_t(f * n + i)]);
        squares[size_t(i)] += d * d;
      }
  }
  for (double s : squares) sum += s;
  CHECK(sum > 0, "world model: the frames of {} do not change", logs_[0].log->where);
  std::vector<float> gain;
  for (double s : squares)
    gain.push_back(s > 0 ? float(std::sqrt((1 + kSteadiest) * frames / (s + kSteadiest * sum / double(n)))) : 1);
  return gain;
}

WorldBatch WorldData::batch(uint64_t first_sample, int64_t samples) const {
  const WorldObjectiveSettings& s = settings_;
  const int64_t a = config_.anchors, frames = s.sequence, kept = clean_frames(), m = targets(), numbers = config_.frame_numbers();
  const int64_t c = config_.latent_channels, pixels = numbers / c;
  WorldBatch b;
  std::vector<float> clean(size_t(samples * (a + kept) * numbers * 2)), forecasts(size_t(samples * m * numbers)),
      x0(size_t(samples * m * numbers)), tau, plan(size_t(samples * kept * kPlanSize)), plan_weight(plan.size());
  std::vector<float> seen(size_t((a + frames) * numbers));  // as the model sees them
  for (int64_t i = 0; i < samples; i++) {
    const uint64_t sample = first_sample + uint64_t(i);
    const Window w = loader_->window(sample);
    const LatentLog& l = logs_[size_t(w.log)];
    std::vector<float> forecast = this->forecasts(w);
    const auto index_of = [&](int64_t f) { return f < a ? w.anchor + f : f - a; };
    for (int64_t f = 0; f < a + frames; f++)
      std::copy_n(l.latents.data() + frame_of(w, f) * numbers, numbers, seen.data() + f * numbers);
    const RandomStream choices{seed_, 0, kChoiceOp};
    const auto chance = [&](uint64_t number, double p) {
      return double(uniform_below_one(random_bits(choices, sample * 64 + number))) < p;
    };
    if (chance(0, s.noise_probability)) {
      const float level = logit_normal(s.noise_mean, s.noise_deviation, normal(random_block({seed_, 1, kTauOp}, sample), 0));
      for (int64_t k = 0; k < frames * numbers; k++) {
        const uint64_t element = sample * uint64_t(frames * numbers) + uint64_t(k);
        const float eps = normal(random_block({seed_, 0, kNoiseOp}, element / 4), int(element % 4));
        const auto add = [&](float& v) { v = std::fma(level, eps, (1 - level) * v); };
        add(seen[size_t(a * numbers + k)]);
        if (k < (frames - 1) * numbers) add(forecast[size_t((a + 1) * numbers + k)]);  // made from that frame
      }
    }
    for (int64_t f = 0; f < a + kept; f++) {
      float* to = clean.data() + (i * (a + kept) + f) * numbers * 2;
      const float *at = seen.data() + f * numbers, *expected = forecast.data() + f * numbers;
      for (int64_t p = 0; p < pixels; p++) {
        to = std::copy_n(at + p * c, c, to);
        to = std::copy_n(expected + p * c, c, to);
      }
    }
    const double first_s = l.log->frame_times_s[size_t(w.first)];
    const auto time_of = [&](int64_t f) { return l.log->frame_times_s[size_t(frame_of(w, f))]; };
    for (int64_t f = 0; f < a + kept; f++) b.conditions.add(frame_pose(*l.log, time_of(f), first_s), index_of(f), 0);
    for (int64_t t = 0; t < m; t++) {
      const int64_t f = a + frames - m + t;
      const float level = logit_normal(0, 1, normal(random_block({seed_, 0, kTauOp}, sample * 64 + uint64_t(t)), 0));
      tau.push_back(level);
      b.conditions.add(frame_pose(*l.log, time_of(f), first_s), index_of(f), level, chance(uint64_t(1 + t), s.pose_dropout));
      const float* target = l.latents.data() + frame_of(w, f) * numbers;
      const float* expected = forecast.data() + f * numbers;
      float* to = x0.data() + (i * m + t) * numbers;
      std::copy_n(expected, numbers, forecasts.data() + (i * m + t) * numbers);
      for (int64_t k = 0; k < numbers; k++)
        to[k] = config_.residual ? gain_[size_t(k)] * (target[k] - expected[k]) : target[k];
    }
    if (s.plan_weight > 0)
      for (int64_t f = 0; f < kept; f++)
        plan_target(*l.log, time_of(a + f), plan.data() + (i * kept + f) * kPlanSize,
                    plan_weight.data() + (i * kept + f) * kPlanSize);
  }
  const int64_t h = config_.rows, wd = config_.columns;
  b.clean = {std::move(clean), {samples, a + kept, h, wd, 2 * c}};
  b.forecast = {std::move(forecasts), {samples, m, h, wd, c}};
  b.x0 = {std::move(x0), {samples, m, h, wd, c}};
  b.tau = {std::move(tau), {samples * m}};
  b.plan = {std::move(plan), {samples * kept, kPlanSize}};
  b.plan_weight = {std::move(plan_weight), {samples * kept, kPlanSize}};
  return b;
}

Objective WorldData::objective(const WorldModel& model, int64_t batch_size) const {
  return [this, &model, batch_size](const StepInfo& info) -> Losses {
    return [this, &model, samples = info.samples,
            b = batch(uint64_t(info.step * batch_size + info.first_sample), info.samples)](Tape& tape, const Tensor& rng) {
      const int64_t m = targets(), numbers = config_.frame_numbers();
      const auto tensor = [&](const WorldBatch::Numbers& n) { return runtime_.from(n.values, n.sizes); };
      const Tensor x0 = tensor(b.x0), eps = tape.apply(PhiloxFill{}, rng, x0);
      const Sizes rows{samples * m, numbers};
      const auto mixed = tape.apply_all(FlowMix{}, x0.reshape(rows), eps.reshape(rows), tensor(b.tau));
      const Tensor noised = tape.apply(Concat{.axis = -1}, mixed[0].reshape(x0.sizes()), tensor(b.forecast), Tensor(),
                                       Tensor(), Tensor(), Tensor());
      const WorldModel::Output out = model.apply(tape, tensor(b.clean), noised, b.conditions, settings_.plan_weight > 0,
                                               settings_.many_targets ? WorldModel::Noised::copies : WorldModel::Noised::next,
                                               settings_.recompute);
      const Sizes whole{samples, m * numbers};
      std::vector<Loss> losses = {{"velocity", tape.apply(FlowLoss{}, tape.reshape(out.velocity, whole),
                                                          mixed[1].reshape(whole), Tensor()), 1 / double(m * numbers)}};
      if (settings_.plan_weight > 0) {
        const MhpLaplace mhp{.nll_scale = 1 / float(kPlanSize)};
        const Tensor loss =
            tape.apply(mhp, out.plan.mean, out.plan.log_scale, out.plan.logits, tensor(b.plan), tensor(b.plan_weight));
        const Tensor sum = tape.apply(Reduce{.axis = 1}, tape.reshape(loss, {samples, clean_frames()}));
        losses.push_back({"plan", tape.reshape(sum, {samples}), settings_.plan_weight / double(clean_frames())});
      }
      return losses;
    };
  };
}

}  // namespace dr
