#include "model/world_model.h"

#include <cmath>

#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/add/add.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear/linear.h"
#include "kernels/rotary_table/rotary_table.h"
#include "kernels/silu/silu.h"
#include "kernels/slice/slice.h"
#include "kernels/unpatchify/unpatchify.h"

namespace dr {

void FrameConditions::add(const FramePose& frame, int64_t frame_index, float frame_tau, bool frame_withheld) {
  CHECK(frame_index >= 0 && frame_index < kWindowFrames, "world model: a frame has the index {}; accepted: 0 to {}",
        frame_index, kWindowFrames - 1);
  if (frame_withheld) pose.insert(pose.end(), size_t(kPoseFeatures), 0.0f);
  else
    for (float v : pose_features(frame)) pose.push_back(v);
  index.push_back(int32_t(frame_index));
  withheld.push_back(frame_withheld);
  tau.push_back(frame_tau);
}

WorldModel::WorldModel(Parameters& p, const WorldModelConfig& config) : runtime_(p.runtime()), config_(config) {
  const WorldModelConfig& o = config_;
  const int64_t c = o.channels;
  CHECK(o.patch > 0 && o.rows % o.patch == 0 && o.columns % o.patch == 0,
        "world model: patches of {} do not divide latents of {} x {}", o.patch, o.rows, o.columns);
  CHECK(o.heads > 0 && c % o.heads == 0 && c / o.heads % 2 == 0 && c / o.heads >= 6,
        "world model: {} channels in {} heads; a head's width must be even and at least 6", c, o.heads);
  CHECK(o.anchors >= 0 && o.window > 0, "world model: {} anchors and a window of {}; accepted: 0 or more, 1 or more",
        o.anchors, o.window);
  const auto layer = [&](const std::string& name, int64_t out, int64_t in, Init init) {
    return Layer{p.add(name + ".weight", {out, in}, init), p.add(name + ".bias", {out}, Init::zeros())};
  };
  // Conditions and rows must reach the blocks at unit scale whatever the width: modulation starts at zero and learns in
  // proportion to them.
  const auto unit = [](int64_t inputs) { return Init::normal(float(1 / std::sqrt(double(inputs)))); };
  const int64_t numbers = o.patch * o.patch * o.latent_channels;
  const int64_t window = 3 * o.patch, seen = window * window * 2 * o.latent_channels;
  embed_ = {p.add("embed.weight", {c, window, window, 2 * o.latent_channels}, unit(seen / 4)),
            p.add("embed.bias", {c}, Init::zeros())};
  place_ = p.add("place", {o.tokens(), c}, Init::normal(0.5f));
  pose_in_ = layer("pose.in", c, kPoseFeatures, unit(kPoseFeatures));
  pose_out_ = layer("pose.out", c, c, Init::normal(float(2 / std::sqrt(double(c)))));
  tau_in_ = layer("tau.in", c, kTauFeatures, unit(kTauFeatures));
  tau_out_ = layer("tau.out", c, c, Init::normal(float(2 / std::sqrt(double(c)))));
  withheld_ = p.add("withheld", {2, c}, Init::normal(0.1f));
  index_ = p.add("index", {kWindowFrames, c}, Init::normal(0.1f));
  if (o.shared_modulation) shared_ = layer("modulation", 6 * c, c, Init::zeros());
  for (int64_t i = 0; i < o.layers; i++)
    blocks_.emplace_back(p, format("blocks.{}", i),
                         TransformerBlockOptions{.channels = c, .heads = o.heads, .hidden = o.mlp_ratio * c,
                                                 .deviation = float(0.7 / std::sqrt(double(c))),
                                                 .mask = {.tokens_per_frame = int(o.tokens()), .anchors = int(o.anchors),
                                                          .window = int(o.window)},
                                                 .shared_modulation = o.shared_modulation});
  final_modulation_ = layer("final.modulation", 2 * c, c, Init::zeros());
  final_ = layer("final", numbers, c, Init::zeros());
  plan_ = std::make_unique<PlanHead>(p, "plan", c, o.hypotheses);
}

Tensor WorldModel::positions(const Tensor& like, int64_t batch, int64_t frames) const {
  std::vector<int32_t> id;
  for (int64_t i = 0; i < batch * frames; i++)
    for (int64_t s = 0; s < config_.tokens(); s++) id.push_back(int32_t(s));
  return Tensor::from(like.arena(), id, {batch, frames * config_.tokens()});
}

Tensor WorldModel::embed(Tape& tape, const Tensor& frames) const {
  const int64_t batch = frames.size(0), n = frames.size(1);
  const int patch = int(config_.patch);
  const Conv2d windows{.stride = {patch, patch}, .padding = {patch, patch, patch, patch}, .dilation = {}, .groups = 1};
  const Tensor images = tape.reshape(frames, {batch * n, config_.rows, config_.columns, 2 * config_.latent_channels});
  return tape.checkpoint([=, this](Tape& t) {  // a small part of the work, so that neither term of the sum is kept
    const Tensor h = t.reshape(t.apply(windows, images, embed_.weight, embed_.bias),
                               {batch, n * config_.tokens(), config_.channels});
    return t.apply(Add{}, h, t.apply(Embedding{}, place_, positions(images, batch, n)));
  });
}

Tensor WorldModel::pose_condition(Tape& tape, const FrameConditions& c) const {
  const int64_t rows = c.frames();
  const Tensor pose = runtime_.from(c.pose, {rows, kPoseFeatures});
  const Tensor a = tape.apply(Silu{}, tape.apply(Linear{}, pose, pose_in_.weight, pose_in_.bias));
  const Tensor m = tape.apply(Add{}, tape.apply(Linear{}, a, pose_out_.weight, pose_out_.bias),
                              tape.apply(Embedding{}, withheld_, runtime_.from(c.withheld, {rows})));
  return tape.apply(Add{}, m, tape.apply(Embedding{}, index_, runtime_.from(c.index, {rows})));
}

Tensor WorldModel::tau_condition(Tape& tape, const std::vector<float>& tau) const {
  std::vector<float> features;
  std::array<float, kTauFeatures> at = tau_features(0);  // most frames are clean
  float last = 0;
  for (float t : tau) {
    if (t != last) at = tau_features(t), last = t;
    features.insert(features.end(), at.begin(), at.end());
  }
  const Tensor f = runtime_.from(features, {int64_t(tau.size()), kTauFeatures});
  const Tensor a = tape.apply(Silu{}, tape.apply(Linear{}, f, tau_in_.weight, tau_in_.bias));
  return tape.apply(Linear{}, a, tau_out_.weight, tau_out_.bias);
}

Tensor WorldModel::block_condition(Tape& tape, const Tensor& condition) const {
  if (!config_.shared_modulation) return condition;
  return tape.apply(Linear{}, tape.apply(Silu{}, condition), shared_.weight, shared_.bias);
}

Tensor WorldModel::final_modulation(Tape& tape, const Tensor& condition) const {
  return tape.apply(Linear{}, tape.apply(Silu{}, condition), final_modulation_.weight, final_modulation_.bias);
}

Tensor WorldModel::velocity(Tape& tape, const Tensor& h, const Tensor& modulation) const {
  const int64_t frames = h.size(0), s = config_.tokens(), c = config_.channels;
  const Tensor y = tape.apply(AdaLNLinear{}, tape.reshape(h, {frames * s, c}), tape.slice(modulation, 1, 0, c),
                              tape.slice(modulation, 1, c, c), final_.weight, final_.bias);
  const Unpatchify unpatchify{.rows = int(config_.rows / config_.patch), .columns = int(config_.columns / config_.patch),
                              .patch_h = int(config_.patch), .patch_w = int(config_.patch)};
  return tape.apply(unpatchify, tape.reshape(y, {frames, s, y.size(1)}));
}

WorldModel::Rotary WorldModel::rotary(Runtime& runtime, const std::vector<int32_t>& index, int64_t batch) const {
  const int64_t s = config_.tokens(), columns = config_.columns / config_.patch;
  std::vector<int32_t> place;
  for (int32_t frame : index)
    for (int64_t i = 0; i < s; i++) place.insert(place.end(), {frame, int32_t(i / columns), int32_t(i % columns)});
  const int half = int(config_.channels / config_.heads / 2), third = half / 3;
  const auto table = evaluate_all(runtime, RotaryTable{.share = {half - 2 * third, third, third}, .base = 100},
                                  runtime.from(place, {batch, int64_t(index.size()) / batch * s, 3}));
  return {table[0], table[1]};
}

WorldModel::Output WorldModel::apply(Tape& tape, const Tensor& clean, const Tensor& noised, const FrameConditions& conditions,
                                     bool plan, Noised kind, int64_t recompute) const {
  const WorldModelConfig& o = config_;
  const int64_t batch = clean.size(0), kept = clean.size(1), targets = noised ? noised.size(1) : 0, frames = kept + targets;
  const int64_t s = o.tokens(), c = o.channels;
  CHECK(conditions.frames() == batch * frames, "world model: {} conditions for {} x {} frames", conditions.frames(), batch,
        frames);
  CHECK(kind == Noised::copies ? kept - o.anchors >= targets : targets == 1,
        "world model: {} noised frames behind {} clean ones; accepted: copies of them, or one frame that follows", targets,
        kept - o.anchors);
  const Tensor condition = tape.apply(Add{}, pose_condition(tape, conditions), tau_condition(tape, conditions.tau));
  const Tensor for_blocks = block_condition(tape, condition);
  const Rotary r = rotary(runtime_, conditions.index, batch);
  Tensor h = embed(tape, targets ? tape.apply(Concat{.axis = 1}, clean, noised, Tensor(), Tensor(), Tensor(), Tensor()) : clean);
  // Nothing looks at the last block's anchors, nor, without a plan, at its clean frames.
  const int64_t layers = int64_t(blocks_.size()), seen = plan || targets == 0 ? o.anchors : kept;
  for (int64_t i = 0; i < layers; i++) {
    const TransformerBlock& b = blocks_[size_t(i)];
    h = b.apply_modulated(tape, h, b.modulation(tape, for_blocks), r.cos, r.sin, kind == Noised::copies ? int(targets) : 0,
                          i + 1 == layers ? seen : 0, i >= recompute);
  }
  Output out;
  if (targets) {
    const Tensor last = tape.apply(Slice{.axis = 1, .begin = kept, .length = targets}, tape.reshape(condition, {batch, frames, c}));
    const Tensor of_targets = tape.apply(Slice{.axis = 1, .begin = (kept - seen) * s, .length = targets * s}, h);
    const Tensor v = velocity(tape, tape.reshape(of_targets, {batch * targets, s, c}),
                              final_modulation(tape, tape.reshape(last, {batch * targets, c})));
    out.velocity = tape.reshape(v, {batch, targets, o.rows, o.columns, o.latent_channels});
  }
  if (plan) {
    const int64_t n = kept - o.anchors;
    const Tensor context = tape.apply(Slice{.axis = 1, .begin = 0, .length = n * s}, h);
    out.plan = plan_->apply(tape, tape.reshape(context, {batch * n, s, c}));
  }
  return out;
}

}  // namespace dr
