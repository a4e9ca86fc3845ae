#pragma once
// A recorded drive of the built-in world: what a segment file holds. Physics, poses and actions at 20 Hz, frames at 5 Hz;
// the frame with index i belongs to the pose with index 4 i.

#include <span>

#include "io/log.h"
#include "sim/camera.h"
#include "sim/driver/expert.h"
#include "sim/scene/scene.h"

namespace dr::sim {

inline constexpr double kStepS = 0.05;      // 20 Hz
inline constexpr int kStepsPerFrame = 4;    // 5 Hz
inline constexpr int kSegmentFrames = 300;  // a segment is one minute

struct DriveSettings {
  uint64_t seed = 1;
  double seconds = 60;                  // up to an hour; rounded down to whole frames
  Camera camera = Camera::wide();
  bool with_noise = true;               // of the driver
  double wander_m = ExpertSettings{}.wander_m;  // standard deviation of the driver's place in the lane
  double steering_error = ExpertSettings{}.curvature_error;  // 1/m, standard deviation of the hand on the wheel
  double lane_change_period_s = 25;     // on average, where the road has lanes to change to; 0: none
};

// One pose or action each 50 ms.
struct DriveLog {
  std::vector<VehicleState> states;
  std::vector<Action> actions;          // actions[i] leads from states[i] to states[i + 1]
  std::vector<Desire> desires;          // a pulse at the step where it is asked
  std::vector<float> lane_offset_m;     // to the right of the centre of the lane that is driven or changed to
  std::vector<int> lane;
  std::vector<double> station_m;        // along the road's reference line
};

// Where a vehicle stands on the road.
struct LanePlace {
  int lane = 0;              // the forward lane that is nearest
  double offset_m = 0;       // to the right of its centre
  double heading_rad = 0;    // relative to the road's, positive to the right
  bool between = false;      // within 0.2 m of the line to another forward lane: which is nearest is a matter of taste
};

class Drive {
 public:
  // Makes the road and the scene and drives it; no images yet.
  explicit Drive(const DriveSettings& settings);

  const DriveSettings& settings() const { return settings_; }
  const Scene& scene() const { return scene_; }
  const DriveLog& log() const { return log_; }
  int frames() const { return int(log_.states.size()) / kStepsPerFrame; }
  int segments() const { return (frames() + kSegmentFrames - 1) / kSegmentFrames; }  // the last may be shorter

  // The state that frame i is seen from.
  const VehicleState& state_at_frame(int i) const { return log_.states[size_t(i) * kStepsPerFrame]; }
  // Of a vehicle within some 50 m of where the drive was at frame i.
  LanePlace place(const VehicleState& state, int i) const;

  // Frames [first, first + count) as the camera sees them.
  SceneTables::Images render(Runtime& runtime, int first, int count) const;
  // What the camera sees of the same world from any states.
  SceneTables::Images render(Runtime& runtime, std::span<const VehicleState> states) const;

  // One segment with its images; depth and labels where they are asked for.
  DrivingLog segment(Runtime& runtime, int index, bool depth, bool labels) const;

 private:
  DriveSettings settings_;
  Scene scene_;
  DriveLog log_;
  mutable std::optional<SceneTables> tables_;  // made at the first image
};

}  // namespace dr::sim
