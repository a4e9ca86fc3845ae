#pragma once
// The pose network: what two successive frames of a camera say about the vehicle, from images alone. It measures what a
// world model's frames show; it knows nothing of the poses that they were asked for.
//
//   frames (N,H,W,6) f32 in [-1,1]: previous frame's RGB, then the current one's; or the two apart, (N,H,W,3) each
//   y (N,5) f32: kPoseOutputs in order, each less its mean and divided by its scale
//
//   x = silu(group_norm(conv(x)))     four times with stride 2: 5x5 to 2C channels, then 3x3 to 3C, 4C and 6C
//   y = linear(gelu_tanh(linear(flatten(x))))     the last grid, H/16 x W/16, keeps where things stand
// Parameters, beneath the network's name: stage.{0..3}.{conv,norm}.weight, stage.{0..3}.norm.bias,
// {hidden,out}.{weight,bias}.
// Its purpose is the pose error of Goff et al. 2025, arXiv:2504.19077.

#include <array>
#include <string_view>

#include "runtime/parameters.h"

namespace dr {

struct PoseOutput {
  std::string_view name, unit;
  float mean, scale;
};
// Motion is that since the previous frame, in the previous frame's axes.
inline constexpr std::array<PoseOutput, 5> kPoseOutputs = {{{"forward", "m", 2.2f, 0.7f},
                                                            {"right", "m", 0, 0.1f},
                                                            {"yaw", "rad", 0, 0.05f},
                                                            {"lane_offset", "m", 0, 0.7f},
                                                            {"heading", "rad", 0, 0.05f}}};

struct PoseNetworkOptions {
  int64_t width = 128, height = 64;  // pixels, multiples of 16
  int64_t channels = 16;             // C, a multiple of 8
  int64_t hidden = 128;
};

class PoseNetwork {
 public:
  PoseNetwork(Parameters& parameters, const std::string& name, const PoseNetworkOptions& options);

  const PoseNetworkOptions& options() const { return options_; }
  Tensor apply(Tape& tape, const Tensor& frames) const;
  Tensor apply(Tape& tape, const Tensor& previous, const Tensor& current) const;

 private:
  struct Stage { Tensor conv, weight, bias; };
  struct Layer { Tensor weight, bias; };

  PoseNetworkOptions options_;
  std::array<Stage, 4> stages_;
  Layer hidden_, out_;
};

}  // namespace dr
