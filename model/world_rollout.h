#pragma once
// A rollout of the world model, frame by frame: keys and values of anchors and context lie in a ring of slots and are
// never made again. What it computes for a frame is what WorldModel::apply computes for it in a pass over the whole
// sequence, bit for bit.
//
//   WorldRollout r(runtime, model, batch, taus);
//   for (anchors, oldest first) r.add_anchor(latent, forecast, conditions);
//   for (frames so far) r.append(latent, forecast, conditions);
//   r.begin_frame(forecast, conditions, false);
//   x = r.generate(noise, 1);  latent = forecast + x / gain;  r.append(latent, forecast, conditions);
//
// Latents and forecasts (world_model.h) (B,h,w,c); conditions of B frames, whose tau is not read.

#include "model/world_model.h"

namespace dr {

// tau_k from 1 to 0 in equal steps: steps + 1 numbers. Source: arXiv:2504.19077, section 4.2 (15 steps, no shift).
std::vector<float> euler_schedule(int64_t steps);

class WorldRollout {
 public:
  // taus: falling, from the noise to the data; the last is 0.
  WorldRollout(Runtime& runtime, const WorldModel& model, int64_t batch, std::vector<float> taus);

  void add_anchor(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions);
  void append(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions, Plans* plan = nullptr);
  void forget_context();  // not the anchors

  // The frame that comes next.
  void begin_frame(const Tensor& forecast, const FrameConditions& conditions, bool guided);
  // x0 - eps at taus[step], for x_tau (B,h,w,c).
  Tensor velocity(const Tensor& x, int64_t step, bool withheld = false);
  // Euler steps from `noise` (B,h,w,c). guidance 1: the conditional velocity alone.
  Tensor generate(const Tensor& noise, float guidance);

  int64_t frames_computed() const { return frames_computed_; }  // passes of a clean frame through the network so far

 private:
  // The modulation of every block and of the last layer for all taus of a frame, in one pass over their weights each.
  struct Modulations {
    std::vector<Tensor> blocks;  // (K B,6C)
    Tensor final;                // (K B,2C)
  };
  Modulations modulations(const FrameConditions& conditions, const std::vector<int64_t>& taus);
  Tensor with_forecast(const Tensor& x, const Tensor& forecast) const;
  Tensor decode(const Tensor& frame, const Modulations& m, int64_t row, const WorldModel::Rotary& rotary, int64_t slot,
                const std::vector<int64_t>& visible);
  void clean_frame(const Tensor& latent, const Tensor& forecast, const FrameConditions& conditions, int64_t slot,
                   const std::vector<int64_t>& visible, Plans* plan);

  Runtime& runtime_;
  const WorldModel& model_;
  int64_t batch_;
  std::vector<float> taus_;
  Tensor tau_table_;              // (K,C)
  std::vector<BlockCache> caches_;
  std::vector<int64_t> anchors_, context_, free_;  // slots, oldest first
  Tensor forecast_;               // of the frame that comes next
  Modulations conditional_, unconditional_;
  WorldModel::Rotary rotary_;     // of the frame that comes next
  int64_t frames_computed_ = 0;
};

}  // namespace dr
