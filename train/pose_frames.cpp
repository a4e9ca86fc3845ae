#include "train/pose_frames.h"

#include <algorithm>
#include <cmath>

namespace dr {

namespace {

// A piecewise linear line through random knots, and a jitter in each frame.
std::vector<double> random_line(int frames, double reach, double jitter, sim::Random& random) {
  std::vector<double> line;
  double from = random.uniform(-reach, reach);
  while (int(line.size()) < frames) {
    const double to = random.uniform(-reach, reach);
    const int steps = random.integer(5, 15);
    for (int i = 0; i < steps; i++) line.push_back(from + (to - from) * i / steps + random.uniform(-jitter, jitter));
    from = to;
  }
  line.resize(size_t(frames));
  return line;
}

// Numbers of a pair in turn.
class Draws {
 public:
  explicit Draws(const RandomStream& stream) : stream_(stream) {}
  float uniform(float low, float high) { return low + (high - low) * uniform_below_one(random_bits(stream_, next_++)); }

 private:
  RandomStream stream_;
  uint64_t next_ = 0;
};

// Triangular noise of this deviation: the sum of two bytes, of each element its own.
void add_noise(float* x, size_t n, float deviation, const RandomStream& stream, uint64_t first_block) {
  constexpr float kByte = 73.9f;  // standard deviation of a uniform byte
  const float scale = deviation / (kByte * 1.41421356f);
  for (size_t i = 0; i < n; i += 8) {
    const PhiloxWords words = random_block(stream, first_block + i / 8);
    for (size_t k = 0; k < std::min<size_t>(8, n - i); k++) {
      const uint32_t pair = words.x[k / 2] >> (16 * (k % 2));
      x[i + k] += scale * float(int(pair & 255) + int(pair >> 8 & 255) - 255);
    }
  }
}

// One pass of [1 2 1] / 4 along rows and columns; beyond an edge stands its own pixel.
void blur(float* x, int64_t height, int64_t width, std::vector<float>& scratch) {
  constexpr int64_t kChannels = 6;
  const int64_t row = width * kChannels;
  scratch.resize(size_t(height * row));
  for (int64_t y = 0; y < height; y++) {
    const float* at = x + y * row;
    float* to = scratch.data() + y * row;
    for (int64_t i = 0; i < row; i++) {
      const float left = at[i < kChannels ? i : i - kChannels], right = at[i + kChannels < row ? i + kChannels : i];
      to[i] = 0.25f * (left + right) + 0.5f * at[i];
    }
  }
  for (int64_t y = 0; y < height; y++) {
    const float* at = scratch.data() + y * row;
    const float *above = y > 0 ? at - row : at, *below = y + 1 < height ? at + row : at;
    for (int64_t i = 0; i < row; i++) x[y * row + i] = 0.25f * (above[i] + below[i]) + 0.5f * at[i];
  }
}

}  // namespace

std::vector<sim::VehicleState> displaced_track(const sim::Drive& drive, const Displacement& d) {
  sim::Random random(drive.settings().seed, sim::RandomUse::displacement);
  const std::vector<double> shift = random_line(drive.frames(), d.shift_m, 0.02, random),
                            turn = random_line(drive.frames(), d.turn_rad, 0.002, random);
  std::vector<sim::VehicleState> track;
  for (int i = 0; i < drive.frames(); i++)
    track.push_back(displaced(drive.state_at_frame(i), shift[size_t(i)], turn[size_t(i)]));
  return track;
}

std::vector<sim::VehicleState> moved_track(const sim::Drive& drive, double right_m) {
  std::vector<sim::VehicleState> track;
  for (int i = 0; i < drive.frames(); i++) track.push_back(displaced(drive.state_at_frame(i), right_m, 0));
  return track;
}

PoseFrames render_pose_frames(Runtime& runtime, const sim::Drive& drive, const std::vector<sim::VehicleState>& track) {
  CHECK(int(track.size()) == drive.frames(), "a track of {} states for a drive of {} frames", track.size(),
        drive.frames());
  constexpr size_t kBatch = 64;  // frames rendered at a time
  PoseFrames f;
  f.width = drive.settings().camera.width, f.height = drive.settings().camera.height;
  f.rgb.reserve(track.size() * f.frame_bytes());
  for (size_t i = 0; i < track.size(); i++) {
    if (i % kBatch == 0) {
      const auto batch = std::span(track).subspan(i, std::min(kBatch, track.size() - i));
      const std::vector<uint8_t> pixels = drive.render(runtime, batch).rgb.to_vector<uint8_t>();
      f.rgb.insert(f.rgb.end(), pixels.begin(), pixels.end());
    }
    f.motion.push_back(i == 0 ? sim::Motion{} : motion_between(track[i - 1], track[i]));
    f.place.push_back(drive.place(track[i], int(i)));
  }
  return f;
}

PoseLabel pose_label(const sim::Motion& m, const sim::LanePlace& place) {
  const double values[] = {m.forward_m, m.right_m, m.yaw_rad, place.offset_m, place.heading_rad};
  PoseLabel label;
  for (size_t i = 0; i < kPoseOutputs.size(); i++) {
    label.value[i] = (float(values[i]) - kPoseOutputs[i].mean) / kPoseOutputs[i].scale;
    label.weight[i] = kPoseOutputs[i].name == "lane_offset" && place.between ? 0 : 1;
  }
  return label;
}

void pose_pair(const uint8_t* previous, const uint8_t* current, int64_t height, int64_t width,
               const RandomStream& stream, bool degrade, float* out) {
  const size_t pixels = size_t(height * width), n = pixels * 6;
  Draws draw(stream);
  float gain[3] = {1, 1, 1}, bias[3] = {0, 0, 0};
  if (degrade) {
    const float contrast = draw.uniform(0.7f, 1.25f), brightness = draw.uniform(-0.15f, 0.15f);
    for (int c = 0; c < 3; c++) {
      gain[c] = contrast * draw.uniform(0.93f, 1.07f);
      bias[c] = brightness + draw.uniform(-0.05f, 0.05f);
    }
  }
  float table[3][256];
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 256; v++) table[c][v] = gain[c] * (float(2 * v - 255) / 255) + bias[c];
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < 3; c++) {
      out[i * 6 + c] = table[c][previous[i * 3 + c]];
      out[i * 6 + 3 + c] = table[c][current[i * 3 + c]];
    }
  if (!degrade || draw.uniform(0, 1) < 0.5f) return;
  constexpr uint64_t kNoise = 1 << 20, kFiner = 1 << 21;  // blocks of the stream that noise is from
  add_noise(out, n, draw.uniform(0, 0.2f), stream, kNoise);
  const int passes = int(draw.uniform(0, 3.999f));
  thread_local std::vector<float> scratch;
  for (int i = 0; i < passes; i++) blur(out, height, width, scratch);
  add_noise(out, n, draw.uniform(0, 0.06f), stream, kFiner);
}

}  // namespace dr
