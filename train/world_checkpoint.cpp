#include "train/world_checkpoint.h"

namespace dr {

const Fields<WorldModelConfig>& world_model_fields() {
  using S = WorldModelConfig;
  static const Fields<S> list = {
      {"patch", &S::patch, "latents along a token's side", 1, 16},
      {"layers", &S::layers, "transformer blocks", 1, 1000},
      {"channels", &S::channels, "width of the network", 6, 65536},
      {"heads", &S::heads, "attention heads", 1, 1024},
      {"mlp-ratio", &S::mlp_ratio, "width of the MLP over the network's", 1, 64},
      {"anchors", &S::anchors, "future frames that are given", 0, 40},
      {"window", &S::window, "frames before it that a frame sees", 1, 49},
      {"hypotheses", &S::hypotheses, "of the plan", 1, 64},
      {"residual", &S::residual, "generate the change of the latent instead of the latent"},
      {"shared-modulation", &S::shared_modulation, "one map from the conditions for all blocks, a table in each"},
      {"level-road", &S::level_road, "a frame is forecast from the one before and the first anchor, by motion over a level road"},
  };
  return list;
}

LoadedWorldModel load_world_model(Runtime& runtime, const std::string& path) {
  const Checkpoint file(path, "world");
  nlohmann::json settings = file.notes().settings;
  LoadedWorldModel w;
  const auto take = [&](const char* key) -> const nlohmann::json& {
    CHECK(settings.contains(key), "{}: setting '{}' is missing", path, key);
    return settings[key];
  };
  CHECK(take("residual-gain").is_array() && take("tokenizer").is_string() && take("width").is_number_integer() &&
            take("height").is_number_integer(),
        "{}: residual-gain, tokenizer, width or height is of the wrong kind", path);
  w.notes = {take("residual-gain").get<std::vector<float>>(), take("tokenizer"), take("width"), take("height")};
  nlohmann::json network = nlohmann::json::object();
  for (const auto& f : world_model_fields()) network[f.name] = take(f.name.c_str());
  WorldModelConfig config = from_json<WorldModelConfig>(network, world_model_fields(), path);
  config.rows = w.notes.height / 8, config.columns = w.notes.width / 8;
  CHECK(int64_t(w.notes.residual_gain.size()) == config.frame_numbers(), "{}: {} residual gains for latents of {} numbers", path,
        w.notes.residual_gain.size(), config.frame_numbers());
  w.parameters = std::make_unique<Parameters>(runtime);
  w.model = std::make_unique<WorldModel>(*w.parameters, config);
  file.load(runtime, *w.parameters, true);
  w.weights_hash = w.parameters->hash();
  return w;
}

}  // namespace dr
