#include "train/pose_measure.h"

#include <algorithm>
#include <cmath>

#include "kernels/image_to_float/image_to_float.h"
#include "train/checkpoint.h"

namespace dr {

const Fields<PoseNetworkOptions>& pose_network_fields() {
  using S = PoseNetworkOptions;
  static const Fields<S> list = {
      {"width", &S::width, "pixels of the network's frames, a multiple of 16", 16, 4096},
      {"height", &S::height, "pixels of the network's frames, a multiple of 16", 16, 4096},
      {"channels", &S::channels, "a multiple of 8; the stages have 2, 3, 4 and 6 times as many", 8, 1024},
      {"hidden", &S::hidden, "width of the layer before the outputs", 1, 65536},
  };
  return list;
}

std::vector<PoseReading> read_poses(Runtime& runtime, const PoseNetwork& network, const Tensor& frames) {
  const PoseNetworkOptions& o = network.options();
  const int64_t t = frames.rank() == 4 ? frames.size(0) : 0;
  const bool bytes = frames.dtype() == DType::u8;
  CHECK((frames.sizes() == Sizes{t, o.height, o.width, 3}) && (bytes || frames.dtype() == DType::f32),
        "pose measure: frames must be (T,{},{},3) u8 or f32, got {}", o.height, o.width, to_string(frames.view()));
  std::vector<PoseReading> readings;
  auto read = [&](int64_t previous, int64_t current, int64_t n) {
    Tape tape(runtime, {.gradients = false});
    auto images = [&](int64_t first) {
      const Tensor part = frames.slice(0, first, n);
      return bytes ? tape.apply(ImageToFloat{}, part) : part;
    };
    const std::vector<float> y = network.apply(tape, images(previous), images(current)).floats();
    for (int64_t i = 0; i < n; i++) {
      std::array<double, kPoseOutputs.size()> v;
      for (size_t k = 0; k < v.size(); k++)
        v[k] = kPoseOutputs[k].mean + kPoseOutputs[k].scale * y[size_t(i) * v.size() + k];
      readings.push_back({v[0] / kFrameS, v[1] / kFrameS, v[2] / kFrameS, v[3], v[4]});
    }
  };
  constexpr int64_t kBatch = 64;
  if (t > 0) read(0, 0, 1);
  for (int64_t i = 1; i < t; i += kBatch) read(i - 1, i, std::min(kBatch, t - i));
  if (t > 1) {
    const PoseReading place = readings[0];
    readings[0] = readings[1];
    readings[0].lane_offset_m = place.lane_offset_m, readings[0].heading_rad = place.heading_rad;
  }
  return readings;
}

double lane_deviation_m(std::span<const PoseReading> rollout, std::span<const PoseReading> reference, size_t frames,
                        double lane_width_m) {
  CHECK(frames > 0 && frames <= rollout.size() && frames <= reference.size(),
        "lane deviation over {} frames of rollouts of {} and {}", frames, rollout.size(), reference.size());
  double sum = 0;
  for (size_t i = 1; i <= frames; i++) {
    const double d = rollout[rollout.size() - i].lane_offset_m - reference[reference.size() - i].lane_offset_m;
    sum += d - lane_width_m * std::floor(d / lane_width_m + 0.5);
  }
  return sum / double(frames);
}

namespace {

// The network's own among the settings of a checkpoint.
PoseNetworkOptions options_of(const Checkpoint& file) {
  nlohmann::json own = nlohmann::json::object();
  for (const Field<PoseNetworkOptions>& f : pose_network_fields())
    if (file.notes().settings.contains(f.name)) own[f.name] = file.notes().settings[f.name];
  return from_json(own, pose_network_fields(), file.path());
}

}  // namespace

PoseMeasure::PoseMeasure(Runtime& r, const std::string& path) : runtime(r), parameters(r) {
  const Checkpoint file(path, "pose");
  const nlohmann::json& settings = file.notes().settings;
  CHECK(settings.contains("camera") && settings["camera"].is_string(), "{}: setting 'camera' is missing", path);
  camera = settings["camera"];
  network = std::make_unique<PoseNetwork>(parameters, "pose", options_of(file));
  file.load(runtime, parameters, true);
}

}  // namespace dr
