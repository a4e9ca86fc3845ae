#pragma once
// The world model of preset `gpt` as bench times it: a step of training, and a sampled frame. Weights, latents and poses
// are random, gates and biases included.
//
//   world_step   objective, backward, clipping and AdamW as train/trainer.h has them, without an average of the weights:
//                batch 1, A anchors, N clean frames, T noised ones (T = 1: the frame behind the last clean one)
//   world_frame  the Euler steps of the next frame and the pass that adds it to the cache, as model/world_rollout.h has
//                them: batch 1, no guidance, A anchors and N frames in the cache

#include <functional>

#include "train/commands/bench_models.h"

namespace dr::cli {

std::vector<ModelCase> world_cases();
// Makes the model and what surrounds it; the call is what is timed.
std::function<void()> make_world_case(Runtime& runtime, const ModelCase& c, uint64_t seed);

}  // namespace dr::cli
