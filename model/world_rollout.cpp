#include "model/world_rollout.h"

#include <algorithm>
#include <numeric>

#include "kernels/add/add.h"
#include "kernels/concat/concat.h"
#include "kernels/embedding/embedding.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/guided_euler_step/guided_euler_step.h"

namespace dr {

std::vector<float> euler_schedule(int64_t steps) {
  CHECK(steps > 0, "sampling takes at least one step, got {}", steps);
  std::vector<float> taus;
  for (int64_t k = 0; k <= steps; k++) taus.push_back(float(steps - k) / float(steps));
  return taus;
}

WorldRollout::WorldRollout(Runtime& runtime, const WorldModel& model, int64_t batch, std::vector<float> taus)
    : runtime_(runtime), model_(model), batch_(batch), taus_(std::move(taus)) {
  const WorldModelConfig& o = model.config();
  CHECK(taus_.size() >= 2 && taus_.back() == 0 && std::is_sorted(taus_.rbegin(), taus_.rend()),
        "world rollout: the noise levels must fall to 0");
  Tape tape(runtime, {.gradients = false});
  tau_table_ = model.tau_condition(tape, taus_);
  const int64_t slots = o.anchors + o.window + 1, width = o.channels / o.heads;
  for (int64_t i = 0; i < o.layers; i++) {
    const Sizes sizes{batch, slots, o.tokens(), o.heads, width};
    caches_.push_back({runtime.zeros(DType::f32, sizes), runtime.zeros(DType::f32, sizes)});
  }
  for (int64_t s = slots - 1; s >= o.anchors; s--) free_.push_back(s);
}

WorldRollout::Modulations WorldRollout::modulations(const FrameConditions& conditions, const std::vector<int64_t>& taus) {
  CHECK(conditions.frames() == batch_, "world rollout: {} conditions for a batch of {}", conditions.frames(), batch_);
  Tape tape(runtime_, {.gradients = false});
  const Tensor base = model_.pose_condition(tape, conditions);
  std::vector<int32_t> frame, tau;
  for (int64_t k : taus)
    for (int64_t b = 0; b < batch_; b++) frame.push_back(int32_t(b)), tau.push_back(int32_t(k));
  const Sizes rows{int64_t(frame.size())};
  const Tensor c = tape.apply(Add{}, tape.apply(Embedding{}, base, runtime_.from(frame, rows)),
                              tape.apply(Embedding{}, tau_table_, runtime_.from(tau, rows)));
  const Tensor for_blocks = model_.block_condition(tape, c);
  Modulations m;
  for (const TransformerBlock& b : model_.blocks_) m.blocks.push_back(b.modulation(tape, for_blocks));
  m.final = model_.final_modulation(tape, c);
  return m;
}

Tensor WorldRollout::with_forecast(const Tensor& x, const Tensor& forecast) const {
  const WorldModelConfig& o = model_.config();
  const Sizes sizes{batch_, o.rows, o.columns, o.latent_channels};
  CHECK(x.sizes() == sizes && forecast.sizes() == sizes, "world rollout: a latent and its forecast must be {}, got {} and {}",
        to_string(sizes), to_string(x.sizes()), to_string(forecast.sizes()));
  Tape tape(runtime_, {.gradients = false});
  const Tensor both = tape.apply(Concat{.axis = -1}, x, forecast, Tensor(), Tensor(), Tensor(), Tensor());
  return both.reshape({batch_, 1, both.size(1), both.size(2), both.size(3)});
}

// The tokens of a frame behind all blocks, (B,S,C); its keys and values are in `slot` then.
Tensor WorldRollout::decode(const Tensor& frame, const Modulations& m, int64_t row, const WorldModel::Rotary& rotary,
                            int64_t slot, const std::vector<int64_t>& visible) {
  std::vector<int32_t> list{int32_t(visible.size()) + 1};
  for (int64_t s : visible) list.push_back(int32_t(s));
  list.push_back(int32_t(slot));
  const Tensor order = runtime_.from(list, {int64_t(list.size())});
  Tape tape(runtime_, {.gradients = false});
  Tensor h = model_.embed(tape, frame);
  for (size_t i = 0; i < caches_.size(); i++)
    h = model_.blocks_[i].decode(tape, h, m.blocks[i].slice(0, row * batch_, batch_), rotary.cos, rotary.sin, caches_[i],
                                 slot, order);
  return h;
}

void WorldRollout::clean_frame(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions,
                               int64_t slot, const std::vector<int64_t>& visible, Plans* plan) {
  const Modulations m = modulations(conditions, {int64_t(taus_.size()) - 1});
  const WorldModel::Rotary rotary = model_.rotary(runtime_, conditions.index, batch_);
  const Tensor h = decode(with_forecast(latent, forecast), m, 0, rotary, slot, visible);
  frames_computed_++;
  if (!plan) return;
  Tape tape(runtime_, {.gradients = false});
  *plan = model_.plan_->apply(tape, h);
}

void WorldRollout::add_anchor(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions) {
  const WorldModelConfig& o = model_.config();
  CHECK(int64_t(anchors_.size()) < o.anchors && context_.empty(),
        "world rollout: an anchor number {} of {}, with {} frames behind it", anchors_.size() + 1, o.anchors, context_.size());
  const int64_t slot = int64_t(anchors_.size());
  clean_frame(latent, forecast, conditions, slot, anchors_, nullptr);
  anchors_.push_back(slot);
}

void WorldRollout::append(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions,
                          Plans* plan) {
  CHECK(int64_t(anchors_.size()) == model_.config().anchors, "world rollout: {} of {} anchors are there", anchors_.size(),
        model_.config().anchors);
  std::vector<int64_t> visible = anchors_;
  visible.insert(visible.end(), context_.begin(), context_.end());
  clean_frame(latent, forecast, conditions, free_.back(), visible, plan);
  context_.push_back(free_.back());
  free_.pop_back();
  if (int64_t(context_.size()) > model_.config().window) {
    free_.push_back(context_.front());
    context_.erase(context_.begin());
  }
}

void WorldRollout::forget_context() {
  free_.insert(free_.end(), context_.begin(), context_.end());
  context_.clear();
}

void WorldRollout::begin_frame(const Tensor& forecast, const FrameConditions& conditions, bool guided) {
  forecast_ = forecast;
  std::vector<int64_t> all(taus_.size() - 1);
  std::iota(all.begin(), all.end(), 0);
  conditional_ = modulations(conditions, all);
  rotary_ = model_.rotary(runtime_, conditions.index, batch_);
  unconditional_ = {};
  if (!guided) return;
  FrameConditions without;
  for (int32_t index : conditions.index) without.add({}, index, 0, true);
  unconditional_ = modulations(without, all);
}

Tensor WorldRollout::velocity(const Tensor& x, int64_t step, bool withheld) {
  const Modulations& m = withheld ? unconditional_ : conditional_;
  CHECK(m.final && step >= 0 && step + 1 < int64_t(taus_.size()), "world rollout: step {} of a frame that has not begun", step);
  std::vector<int64_t> visible = anchors_;
  visible.insert(visible.end(), context_.begin(), context_.end());
  const Tensor h = decode(with_forecast(x, forecast_), m, step, rotary_, free_.back(), visible);
  Tape tape(runtime_, {.gradients = false});
  return model_.velocity(tape, h, m.final.slice(0, step * batch_, batch_));
}

Tensor WorldRollout::generate(const Tensor& noise, float guidance) {
  const Tensor taus = runtime_.from(taus_, {int64_t(taus_.size())}), g = runtime_.from(std::vector<float>{guidance}, {1});
  Tensor x = noise;
  for (int64_t k = 0; k + 1 < int64_t(taus_.size()); k++) {
    const Tensor pair = taus.slice(0, k, 2), c = velocity(x, k);
    Tape tape(runtime_, {.gradients = false});
    x = guidance == 1 ? tape.apply(EulerStep{}, x, c, pair)
                      : tape.apply(GuidedEulerStep{}, x, c, velocity(x, k, true), g, pair);
  }
  return x;
}

}  // namespace dr
