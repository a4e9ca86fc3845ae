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

constexpr int kKernel[] = {5, 3, 3, 3}, kWidth[] = {2, 3, 4, 6};  // of each stage; widths in units of C

Init he(int64_t fan_in) { return Init::normal(std::sqrt(2.f / float(fan_in))); }

}  // namespace

PoseNetwork::PoseNetwork(Parameters& p, const std::string& name, const PoseNetworkOptions& o) : options_(o) {
  CHECK(o.width > 0 && o.height > 0 && o.width % 16 == 0 && o.height % 16 == 0,
        "{}: frames of {} x {} pixels; accepted are multiples of 16", name, o.width, o.height);
  CHECK(o.channels > 0 && o.channels % kGroup == 0, "{}: {} channels; accepted are multiples of {}", name, o.channels,
        kGroup);
  auto add = [&](const std::string& part, const Sizes& sizes, Init init) {
    return p.add(name + "." + part, sizes, init);
  };
  int64_t in = 6;
  for (size_t i = 0; i < stages_.size(); i++) {
    const std::string stage = format("stage.{}", i);
    const int64_t out = kWidth[i] * o.channels, k = kKernel[i];
    stages_[i] = {add(stage + ".conv.weight", {out, k, k, in}, he(k * k * in)),
                  add(stage + ".norm.weight", {out}, Init::ones()), add(stage + ".norm.bias", {out}, Init::zeros())};
    in = out;
  }
  const int64_t flat = o.height / 16 * (o.width / 16) * in, outputs = int64_t(kPoseOutputs.size());
  hidden_ = {add("hidden.weight", {o.hidden, flat}, he(flat)), add("hidden.bias", {o.hidden}, Init::zeros())};
  out_ = {add("out.weight", {outputs, o.hidden}, Init::normal(0.02f)), add("out.bias", {outputs}, Init::zeros())};
}

Tensor PoseNetwork::apply(Tape& tape, const Tensor& frames) const {
  const int64_t n = frames.rank() == 4 ? frames.size(0) : 0;
  CHECK((frames.sizes() == Sizes{n, options_.height, options_.width, 6}),
        "pose network: frames must be (N,{},{},6), got {}", options_.height, options_.width, to_string(frames.view()));
  Tensor x = frames;
  for (size_t i = 0; i < stages_.size(); i++) {
    const Stage& s = stages_[i];
    x = tape.apply(Conv2d::same(kKernel[i], 2), x, s.conv, Tensor());
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
