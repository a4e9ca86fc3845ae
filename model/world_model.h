#pragma once
// The world model: a diffusion transformer over frames of latents, anchored in the future, whose keys and values never
// change once a frame is there.
//
//   sequence   [ A anchors | N clean frames | M noised copies of the last M clean frames ], S tokens each
//   token      a patch of the frame's latent with a patch's width around it, beside the same of the frame's forecast: the
//              latent before it, or, with `level_road`, what motion over a level road makes of it and of the first anchor;
//              zeros where there is no frame before. What moves by less than a patch is in the token itself
//   mask       kernels/attention/frame_mask.h: anchors see anchors up to their own; a clean frame the anchors, the
//              `window` clean frames before it and itself; a noised copy the same and itself, never its clean original
//   condition  per frame: its motion and place (pose_features.h), its index 0..49 in the ten seconds, tau, and whether
//              its pose is withheld (for guidance). A clean frame is told tau = 0
//   rotary positions: (index, row, column) of the token
//   velocity   linear(adaln(h)) of the noised copies' tokens: x0 - eps, where x0 is what is generated: the latent, or,
//              with `residual`, (latent - forecast) * residual_gain
//   plan       plan_head.h, from the tokens of each clean frame
//
// What a frame's keys and values are made of is the frame and those before it alone, so a pass over a whole sequence and
// decoding frame by frame against a cache (world_rollout.h) are the same function: equal bits.
// Source: Goff et al. 2025, arXiv:2504.19077, section 4; teacher forcing of a diffusion model with clean and noised copies
//   side by side: Arriola et al. 2025, arXiv:2503.09573 (block diffusion).

#include "model/plan_head.h"
#include "model/pose_features.h"
#include "model/transformer_block.h"

namespace dr {

struct WorldModelConfig {
  int64_t rows = 8, columns = 16, latent_channels = 4, patch = 2;  // of a frame's latent
  int64_t layers = 6, channels = 192, heads = 6, mlp_ratio = 4;
  int64_t anchors = 5, window = 9;
  int64_t hypotheses = 5;      // of the plan
  bool residual = true;
  bool level_road = false;     // forecasts follow the motion; they are the caller's to make
  bool shared_modulation = false;

  int64_t tokens() const { return rows / patch * (columns / patch); }
  int64_t frame_numbers() const { return rows * columns * latent_channels; }
};

// The smallest of the published sizes, after GPT-2's; latents of 128 x 256 pixels. Source: arXiv:2504.19077, section 4.2.1.
inline WorldModelConfig gpt_world_model() {
  return {.rows = 16, .columns = 32, .layers = 12, .channels = 768, .heads = 12, .shared_modulation = true};
}

inline constexpr int64_t kWindowFrames = 50;  // ten seconds at 5 Hz: what an index counts

// What a model is told of the frames of a batch, in order: (B,F).
struct FrameConditions {
  std::vector<float> pose;        // (B,F,kPoseFeatures)
  std::vector<int32_t> index;     // 0 .. kWindowFrames - 1
  std::vector<int32_t> withheld;  // 1: no pose
  std::vector<float> tau;

  void add(const FramePose& frame, int64_t frame_index, float frame_tau, bool frame_withheld = false);
  int64_t frames() const { return int64_t(index.size()); }
};

class WorldModel {
 public:
  WorldModel(Parameters& parameters, const WorldModelConfig& config);
  const WorldModelConfig& config() const { return config_; }

  struct Output {
    Tensor velocity;  // (B,M,h,w,c); absent where M is 0
    Plans plan;       // of B N clean frames, where asked for
  };
  // What noised frames are: copies of the last clean frames, or the one frame behind the last clean one.
  enum class Noised : uint8_t { copies, next };
  // clean (B,A+N,h,w,2c): latents and their forecasts    noised (B,M,h,w,2c): x_tau and the forecast; or absent
  // conditions of B x (A+N+M) frames    recompute: so many of the first blocks keep less for backward, which
  // computes the hidden layer of their MLP and attention's projection again; it changes no bit
  Output apply(Tape& tape, const Tensor& clean, const Tensor& noised, const FrameConditions& conditions, bool plan,
               Noised kind = Noised::copies, int64_t recompute = 0) const;

 private:
  friend class WorldRollout;
  struct Layer { Tensor weight, bias; };
  struct Rotary { Tensor cos, sin; };  // (B,F S,D/2)

  Tensor embed(Tape& tape, const Tensor& frames) const;                            // (B,F,h,w,2c) -> (B,F S,C)
  Tensor pose_condition(Tape& tape, const FrameConditions& c) const;               // (R,C), without tau
  Tensor tau_condition(Tape& tape, const std::vector<float>& tau) const;           // (R,C)
  Tensor block_condition(Tape& tape, const Tensor& condition) const;               // what the blocks' modulation() takes
  Tensor final_modulation(Tape& tape, const Tensor& condition) const;              // (R,2C)
  Tensor velocity(Tape& tape, const Tensor& h, const Tensor& modulation) const;    // (R,S,C), (R,2C) -> (R,h,w,c)
  Rotary rotary(Runtime& runtime, const std::vector<int32_t>& index, int64_t batch) const;
  Tensor positions(const Tensor& like, int64_t batch, int64_t frames) const;       // ids of the place table, (B,F S)

  Runtime& runtime_;
  WorldModelConfig config_;
  Layer embed_, pose_in_, pose_out_, tau_in_, tau_out_, shared_, final_modulation_, final_;
  Tensor place_, withheld_, index_;  // tables: (S,C), (2,C), (50,C)
  std::vector<TransformerBlock> blocks_;
  std::unique_ptr<PlanHead> plan_;
};

}  // namespace dr
