#pragma once
// A trained world model from its checkpoint, and the settings that make one.

#include <memory>

#include "model/world_model.h"
#include "train/checkpoint.h"
#include "train/fields.h"

namespace dr {

const Fields<WorldModelConfig>& world_model_fields();  // what the command line sets; the latent's size follows the frames'

// What a checkpoint of kind "world" says beside the trainer's and the data's settings.
struct WorldNotes {
  std::vector<float> residual_gain;  // (h,w,c)
  std::string tokenizer_hash;    // of the tokenizer whose latents it speaks
  int64_t width = 0, height = 0; // pixels of the frames
};

struct LoadedWorldModel {
  std::unique_ptr<Parameters> parameters;  // the averaged weights
  std::unique_ptr<WorldModel> model;
  WorldNotes notes;
  std::string weights_hash;                // of the averaged weights
};
// Throws where the file is no checkpoint of a world model or is damaged.
LoadedWorldModel load_world_model(Runtime& runtime, const std::string& path);

}  // namespace dr
