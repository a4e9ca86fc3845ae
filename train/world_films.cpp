#include "train/world_films.h"

#include <algorithm>

#include "io/text.h"

namespace dr {

SamplerSettings RolloutSettings::sampler(uint64_t seed) const {
  CHECK(context == "cache" || context == "recompute", "--context: '{}'; accepted: cache, recompute", shown(context));
  return {.steps = steps, .guidance = guidance, .temperature = temperature, .recompute = context == "recompute",
          .plan = false, .seed = seed};
}

FilmMaker::FilmMaker(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec)
    : runtime_(runtime), world_(world), codec_(codec), forecaster_(runtime, codec, world.model->config().level_road) {
  CHECK(world.notes.tokenizer_hash == codec.hash(),
        "the world model was trained on latents of the tokenizer {}; --tokenizer is {} ({})",
        world.notes.tokenizer_hash, codec.hash(), codec.words());
}

Films FilmMaker::empty(int64_t frames, size_t films) const {
  return {frames, height(), width(), std::vector<Film>(films)};
}

Film FilmMaker::decode(const Tensor& latents) const { return codec_.decode(latents).to_vector<uint8_t>(); }

Films FilmMaker::generated(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                           const SamplerSettings& settings, int64_t batch) const {
  return rolled(starts, tracks, settings, batch,
                [](WorldSampler& sampler, const std::vector<Pose>& poses) { return sampler.generate(poses); });
}

Films FilmMaker::forecast(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                          int64_t batch) const {
  return rolled(starts, tracks, {}, batch,
                [](WorldSampler& sampler, const std::vector<Pose>& poses) { return sampler.forecast(poses); });
}

Films FilmMaker::rolled(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                        const SamplerSettings& settings, int64_t batch, const NextFrame& next) const {
  CHECK(!starts.empty() && starts.size() == tracks.size(), "films: {} rollouts on {} tracks", starts.size(),
        tracks.size());
  const auto frames = int64_t(tracks[0].size());
  Films films = empty(frames, starts.size());
  for (size_t first = 0; first < starts.size(); first += size_t(batch)) {
    const size_t n = std::min(size_t(batch), starts.size() - first), end = first + n;
    WorldSampler sampler(runtime_, world_, forecaster_, settings,
                         {starts.begin() + int64_t(first), starts.begin() + int64_t(end)});
    for (int64_t i = 0; i < frames; i++) {
      std::vector<Pose> poses;
      for (size_t b = first; b < end; b++) poses.push_back(tracks[b].at(size_t(i)));
      const Tensor latents = next(sampler, poses);
      const Film pictures = decode(latents);
      for (size_t b = 0; b < n; b++) {
        const auto from = pictures.begin() + int64_t(b) * films.frame_bytes();
        films.list[first + b].insert(films.list[first + b].end(), from, from + films.frame_bytes());
      }
      sampler.push(latents, poses);
    }
  }
  return films;
}

Films FilmMaker::recorded(const std::vector<RolloutStart>& starts, int64_t frames) const {
  Films films = empty(frames, starts.size());
  for (size_t b = 0; b < starts.size(); b++)
    for (int64_t i = 0; i < frames; i++) {
      const uint8_t* from =
          starts[b].log().frames.data<uint8_t>() + starts[b].frame(starts[b].context + i) * films.frame_bytes();
      films.list[b].insert(films.list[b].end(), from, from + films.frame_bytes());
    }
  return films;
}

Films FilmMaker::held(const std::vector<RolloutStart>& starts, int64_t frames) const {
  std::vector<RolloutStart> before = starts;
  for (RolloutStart& s : before) s.context--;
  Films films = recorded(before, 1);
  films.frames = frames;
  for (Film& f : films.list) {
    const Film one = f;
    for (int64_t i = 1; i < frames; i++) f.insert(f.end(), one.begin(), one.end());
  }
  return films;
}

Films FilmMaker::reconstructed(const std::vector<RolloutStart>& starts, int64_t frames) const {
  Films films = empty(frames, starts.size());
  const WorldModelConfig& o = world_.model->config();
  for (size_t b = 0; b < starts.size(); b++) {
    std::vector<float> latents;
    for (int64_t i = 0; i < frames; i++) {
      const auto at = starts[b].source->latents.begin() + starts[b].frame(starts[b].context + i) * o.frame_numbers();
      latents.insert(latents.end(), at, at + o.frame_numbers());
    }
    films.list[b] = decode(runtime_.from(latents, {frames, o.rows, o.columns, o.latent_channels}));
  }
  return films;
}

std::vector<LatentLog> open_latent_logs(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec,
                                        DataSettings data, uint64_t seed) {
  data.width = world.notes.width, data.height = world.notes.height;
  return codec.encode(open_dataset(runtime, data, seed), data);
}

Image film_frame(const Films& films, size_t film, int64_t i) {
  const uint8_t* from = films.frame(film, i);
  return {int(films.width), int(films.height), 3, {from, from + films.frame_bytes()}};
}

}  // namespace dr
