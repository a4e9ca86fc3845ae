// The pose network: its bits do not depend on batch and threads, its gradients are those of what it computes, and what
// it refuses.

#include <gtest/gtest.h>

#include <cmath>

#include "model/pose_network.h"
#include "tests/io_files.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

constexpr PoseNetworkOptions kSmall{.width = 48, .height = 32, .channels = 8, .hidden = 16};

struct Net {
  explicit Net(Runtime& r, const PoseNetworkOptions& o = kSmall)
      : runtime(r), parameters(r), network(parameters, "pose", o) {
    parameters.initialise(3);
  }
  Tensor frames(int64_t n, uint32_t id = 1) const {
    return random(runtime, {n, network.options().height, network.options().width, 6}, id);
  }
  std::vector<float> read(const Tensor& frames) const {
    Tape tape(runtime, {.gradients = false});
    return network.apply(tape, frames).floats();
  }

  Runtime& runtime;
  Parameters parameters;
  PoseNetwork network;
};

TEST(PoseNetwork, ReadsEachPairOnItsOwn) {
  Runtime one({.threads = 1}), two({.threads = 2});
  const Net a(one), b(two);
  const std::vector<float> all = a.read(a.frames(3));
  ASSERT_EQ(all.size(), 3 * kPoseOutputs.size());
  EXPECT_EQ(all, b.read(b.frames(3)));
  const std::vector<float> second = a.read(a.frames(3).slice(0, 1, 1).clone());
  EXPECT_TRUE(std::equal(second.begin(), second.end(), all.begin() + kPoseOutputs.size()));
  EXPECT_FALSE(std::equal(second.begin(), second.end(), all.begin())) << "pairs differ from each other";
}

TEST(PoseNetwork, TakesTheFramesApartToo) {
  Runtime runtime;
  const Net net(runtime);
  const Tensor pair = net.frames(2);
  Tape tape(runtime, {.gradients = false});
  const Tensor previous = pair.slice(3, 0, 3).clone(), current = pair.slice(3, 3, 3).clone();
  EXPECT_EQ(net.network.apply(tape, previous, current).floats(), net.read(pair));
  EXPECT_NE(net.network.apply(tape, current, previous).floats(), net.read(pair));
}

// Along a parameter's own gradient the output changes as fast as the gradient is long.
TEST(PoseNetwork, EveryParameterHasItsGradient) {
  Runtime runtime;
  const Net net(runtime);
  const Tensor frames = net.frames(2), dy = random(runtime, {2, int64_t(kPoseOutputs.size())}, 9);
  const std::vector<float> seed = dy.floats();
  auto value = [&] {
    const std::vector<float> y = net.read(frames);
    double sum = 0;
    for (size_t i = 0; i < y.size(); i++) sum += double(y[i]) * double(seed[i]);
    return sum;
  };
  Tape tape(runtime);
  net.parameters.watch(tape);
  tape.backward(net.network.apply(tape, frames), dy);
  const std::vector<Tensor> gradients = net.parameters.gradients(tape);
  for (size_t i = 0; i < gradients.size(); i++) {
    const Parameter& p = net.parameters[i];
    ASSERT_TRUE(gradients[i].present()) << p.name;
    const std::vector<float> g = gradients[i].floats(), at = p.value.floats();
    double square = 0;
    for (float v : g) square += double(v) * double(v);
    const double length = std::sqrt(square), step = 0.01;
    ASSERT_GT(length, 1e-4) << p.name;
    auto moved = [&](double by) {
      std::vector<float> v = at;
      for (size_t k = 0; k < v.size(); k++) v[k] += float(by * double(g[k]) / length);
      p.value.copy_from(std::span<const float>(v));
      return value();
    };
    const double slope = (moved(step) - moved(-step)) / (2 * step);
    p.value.copy_from(std::span<const float>(at));
    EXPECT_NEAR(slope, length, 0.02 * length) << p.name;
  }
}

TEST(PoseNetwork, SaysWhichFramesItTakes) {
  Runtime runtime;
  const Net net(runtime);
  EXPECT_EQ(error_of([&] { net.read(runtime.zeros(DType::f32, {1, 32, 64, 6})); }),
            "pose network: frames must be (N,32,48,6), got f32(1,32,64,6)");
  EXPECT_EQ(error_of([&] { Net wrong(runtime, {.width = 40, .height = 32}); }),
            "pose: frames of 40 x 32 pixels; accepted are multiples of 16");
}

}  // namespace
}  // namespace dr::test
