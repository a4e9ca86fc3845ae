#include "model/pose_network.h"

#include <cmath>

#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/group_norm_silu/group_norm_silu.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gelu/linear_gelu.h"

namespace dr {

namespace {

constexpr int64_t kGroup = 8;  // channels that are normalised together

int kernel_of(size_t stage) { return stage == 0 ? 5 : 3; }

Init he(int64_t fan_in) { return Init::normal(std::sqrt(2.f / float(fan_in))); }

}  // namespace

PoseNetwork::PoseNetwork(Parameters& p, const std::string& name, const PoseNetworkOptions& o) : options_(o) {
  CHECK(o.width > 0 && o.height > 0 && o.width % 16 == 0 && o.height % 16 == 0,
        "{}: frames of {} x {} pixels; accepted are multiples of 16", name, o.width, o.height);
  CHECK(o.channels > 0 && o.channels % kGroup == 0, "{}: {} channels; accepted are multiples of {}", name, o.channels, kGroup);
  int64_t in = 6;
  for (size_t i = 0; i < stages_.size(); i++) {
    const std::string stage = format("{}.stage.{}", name, i);
    const int64_t out = int64_t(i + 1) * o.channels, k = kernel_of(i);
    stages_[i] = {p.add(stage + ".conv.weight", {out, k, k, in}, he(k * k * in)),
                  p.add(stage + ".norm.weight", {out}, Init::ones()), p.add(stage + ".norm.bias", {out}, Init::zeros())};
    in = out;
  }
  const int64_t flat = o.height / 16 * (o.width / 16) * in, outputs = int64_t(kPoseOutputs.size());
  hidden_ = {p.add(name + ".hidden.weight", {o.hidden, flat}, he(flat)), p.add(name + ".hidden.bias", {o.hidden}, Init::zeros())};
  out_ = {p.add(name + ".out.weight", {outputs, o.hidden}, Init::normal(0.02f)), p.add(name + ".out.bias", {outputs}, Init::zeros())};
}

Tensor PoseNetwork::apply(Tape& tape, const Tensor& frames) const {
  const int64_t n = frames.rank() == 4 ? frames.size(0) : 0;
  CHECK((frames.sizes() == Sizes{n, options_.height, options_.width, 6}), "pose network: frames must be (N,{},{},6), got {}",
        options_.height, options_.width, to_string(frames.view()));
  Tensor x = frames;
  for (size_t i = 0; i < stages_.size(); i++) {
    const Stage& s = stages_[i];
    x = tape.apply(Conv2d::same(kernel_of(i), 2), x, s.conv, Tensor());
    x = tape.apply(GroupNormSilu{.groups = int(x.size(3) / kGroup)}, x, s.weight, s.bias);
  }
  x = tape.reshape(x, {n, x.count() / std::max<int64_t>(n, 1)});
  return tape.apply(Linear{}, tape.apply(LinearGelu{}, x, hidden_.weight, hidden_.bias), out_.weight, out_.bias);
}

Tensor PoseNetwork::apply(Tape& tape, const Tensor& previous, const Tensor& current) const {
  const Tensor none;
  return apply(tape, tape.apply(Concat{.axis = 3}, previous, current, none, none, none, none));
}

}  // namespace dr
