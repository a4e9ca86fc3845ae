#pragma once
// The driving logs that a command trains on or measures with: opened, or made by the built-in world.

#include <memory>
#include <optional>
#include <vector>

#include "io/log.h"
#include "runtime/runtime.h"
#include "train/fields.h"

namespace dr {

struct DataSettings {
  std::string data{};                // a log, or a folder of segments; empty: drives of the built-in world
  std::string frames{};              // "A:B", those of each log from A up to and without B; empty: all
  int64_t drives = 40;               // of the built-in world, where there is no data
  double seconds = 60;               // of each drive
  double wander = 0.2;               // metres, standard deviation of the driver's place in the lane
  double steering_error = 4e-4;      // 1/m, standard deviation of the driver's hand on the wheel
  double lane_change_period = 25;    // seconds between lane changes, on average; 0: none
  std::string camera = "narrow";     // of their pictures, or wide
  int64_t width = 128, height = 64;  // of the pictures that the network sees
};
const Fields<DataSettings>& data_fields();
Fields<DataSettings> source_fields();  // without the frames and their size, which what measures a network chooses
                                       // itself

// Frames [first, end). parse_frames: of "A:B"; nothing of an empty text. Throws, naming the option, at anything else.
struct FrameInterval {
  int64_t first = 0, end = 0;
};
std::optional<FrameInterval> parse_frames(const char* option, const std::string& text);

using Logs = std::vector<std::shared_ptr<const DrivingLog>>;

// Logs with frames of the wanted size. Larger frames are cropped, to the middle of their width and the bottom of their
// height, to the largest whole multiple of it, and averaged over squares of pixels; the camera model follows.
// Throws where there is no log with frames, or one is smaller than the wanted size.
Logs open_dataset(Runtime& runtime, const DataSettings& settings, uint64_t seed);

// What is trained on, and what is measured on alone: of several logs the last `holdout` of them, of a single log its
// last `holdout` frames. Throws where nothing is left to train on.
struct Split {
  Logs train, held_out;
};
Split split(const Logs& logs, int64_t holdout);

// The files of a dataset in order: a segment, a folder's segments, or a folder in another layout as one.
std::vector<std::string> dataset_paths(const std::string& data);

// What open_dataset does to each log.
DrivingLog fitted(DrivingLog log, int width, int height);
DrivingLog cut(DrivingLog log, int64_t first, int64_t end);  // frames [first, end); poses and times stay whole

// The seed of drive number `index` of a run: neighbouring seeds share no drive.
uint64_t drive_seed(uint64_t seed, uint64_t index);

}  // namespace dr
