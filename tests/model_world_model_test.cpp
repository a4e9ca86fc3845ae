// The world model: what its tokens may see, and that decoding against a ring of cached frames is the same function as one
// pass over the whole sequence.

#include <gtest/gtest.h>

#include <map>

#include "kernels/concat/concat.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/mhp_laplace/mhp_laplace.h"
#include "model/world_rollout.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

using Bits = std::vector<uint32_t>;

WorldModelConfig small(bool shared = false) {
  return {.rows = 4, .columns = 6, .latent_channels = 4, .patch = 2, .layers = 3, .channels = 24, .heads = 2, .mlp_ratio = 2,
          .anchors = 2, .window = 3, .hypotheses = 2, .residual = true, .shared_modulation = shared};
}

FramePose pose_of(int64_t sample, int64_t frame) {
  FramePose p;
  for (size_t i = 0; i < 6; i++) {
    p.motion[i] = 0.1 * double(i + 1) * double(frame % 3) + 0.05 * double(sample);
    p.place[i] = 0.3 * double(frame) - 0.02 * double(i) + double(sample);
  }
  return p;
}

// A model with nothing at zero, and sequences: A anchors, N clean frames, noised copies of the last M.
struct Sequence {
  static constexpr int64_t kBatch = 2, kFrames = 8, kTargets = 4;
  Runtime runtime;
  Parameters parameters{runtime};
  WorldModelConfig config;
  WorldModel model;
  std::vector<Tensor> latents;  // (B,h,w,c) of anchors, then of frames
  std::vector<Tensor> noised;   // of the targets
  std::vector<float> tau{1, 0.75f, 0.5f, 0.25f};

  explicit Sequence(bool shared = false, int threads = 1)
      : runtime({.threads = threads}), config(small(shared)), model(parameters, config) {
    for (const Parameter& p : parameters) {
      std::vector<float> v = numbers(p.value.count(), p.op_id);
      for (float& f : v) f = p.name.ends_with("norm.weight") ? 1 + 0.5f * f : 0.3f * f;
      p.value.copy_from(std::span<const float>(v));
    }
    const Sizes sizes{kBatch, config.rows, config.columns, config.latent_channels};
    for (int64_t i = 0; i < config.anchors + kFrames; i++) latents.push_back(random(runtime, sizes, uint32_t(100 + i)));
    for (int64_t i = 0; i < kTargets; i++) noised.push_back(random(runtime, sizes, uint32_t(200 + i)));
  }
  int64_t index_of(int64_t f) const { return f < config.anchors ? 20 + f : f - config.anchors; }  // f counts anchors too
  FrameConditions conditions(int64_t f, float t, bool withheld = false) const {
    FrameConditions c;
    for (int64_t b = 0; b < kBatch; b++) c.add(pose_of(b, index_of(f)), index_of(f), t, withheld);
    return c;
  }
  Tensor forecast(int64_t f) const {
    return f == 0 || f == config.anchors ? runtime.zeros(DType::f32, latents[0].sizes()) : latents[size_t(f - 1)];
  }
  Tensor with_forecast(const Tensor& x, int64_t f) const {  // (B,1,h,w,2c)
    Tape tape(const_cast<Runtime&>(runtime), {.gradients = false});
    const Tensor both = tape.apply(Concat{.axis = -1}, x, forecast(f), Tensor(), Tensor(), Tensor(), Tensor());
    return both.reshape({kBatch, 1, both.size(1), both.size(2), both.size(3)});
  }
  // One pass over everything; targets are the last frames.
  WorldModel::Output whole(bool withheld = false) {
    Tape tape(runtime, {.gradients = false});
    const auto join = [&](const Tensor& a, const Tensor& b) {
      return a ? tape.apply(Concat{.axis = 1}, a, b, Tensor(), Tensor(), Tensor(), Tensor()) : b;
    };
    const int64_t all = config.anchors + kFrames;
    Tensor clean, copies;
    for (int64_t f = 0; f < all; f++) clean = join(clean, with_forecast(latents[size_t(f)], f));
    for (int64_t t = 0; t < kTargets; t++) copies = join(copies, with_forecast(noised[size_t(t)], all - kTargets + t));
    FrameConditions c;
    for (int64_t b = 0; b < kBatch; b++) {
      for (int64_t f = 0; f < all; f++) c.add(pose_of(b, index_of(f)), index_of(f), 0);
      for (int64_t t = 0; t < kTargets; t++)
        c.add(pose_of(b, index_of(all - kTargets + t)), index_of(all - kTargets + t), tau[size_t(t)], withheld);
    }
    return model.apply(tape, clean, copies, c, true);
  }
};

void expect_rollout_equals_pass(bool shared, bool withheld) {
  Sequence s(shared);
  const WorldModel::Output whole = s.whole(withheld);
  WorldRollout r(s.runtime, s.model, s.kBatch, {1, 0.75f, 0.5f, 0.25f, 0});
  const int64_t a = s.config.anchors;
  for (int64_t f = 0; f < a; f++) r.add_anchor(s.latents[size_t(f)], s.forecast(f), s.conditions(f, 0));
  const std::vector<float> means = whole.plan.mean.floats();
  const int64_t row = whole.plan.mean.count() / (s.kBatch * s.kFrames);
  for (int64_t f = a; f < a + s.kFrames; f++) {
    const int64_t t = f - (a + s.kFrames - s.kTargets);
    if (t >= 0) {
      r.begin_frame(s.forecast(f), s.conditions(f, 0), withheld);
      const Tensor expected = whole.velocity.slice(1, t, 1).clone();
      const Bits want = bits_of(expected), got = bits_of(r.velocity(s.noised[size_t(t)], t, withheld));
      EXPECT_EQ(want, got) << "target " << t;
      EXPECT_NE(want, bits_of(r.velocity(s.noised[size_t(t)], (t + 1) % 4, withheld))) << "tau must matter";
    }
    Plans plan;
    r.append(s.latents[size_t(f)], s.forecast(f), s.conditions(f, 0), &plan);
    const std::vector<float> mean = plan.mean.floats();
    for (int64_t b = 0; b < s.kBatch; b++)
      for (int64_t i = 0; i < row; i++)
        ASSERT_EQ(mean[size_t(b * row + i)], means[size_t((b * s.kFrames + f - a) * row + i)]) << "plan of frame " << f;
  }
}

TEST(WorldModel, DecodingWithACacheIsThePassOverTheWholeRollout) { expect_rollout_equals_pass(false, false); }
TEST(WorldModel, DecodingWithACacheIsThePassWithSharedModulation) { expect_rollout_equals_pass(true, false); }
TEST(WorldModel, DecodingWithACacheIsThePassWithWithheldPoses) { expect_rollout_equals_pass(false, true); }

TEST(WorldModel, TheNextFrameNoisedIsWhatItsCopyWouldBe) {
  Sequence s;
  const int64_t all = s.config.anchors + s.kFrames;
  const Tensor expected = s.whole().velocity.slice(1, s.kTargets - 1, 1).clone();  // of the last frame
  Tape tape(s.runtime, {.gradients = false});
  Tensor clean;
  FrameConditions c;
  for (int64_t f = 0; f + 1 < all; f++) {
    const Tensor frame = s.with_forecast(s.latents[size_t(f)], f);
    clean = clean ? tape.apply(Concat{.axis = 1}, clean, frame, Tensor(), Tensor(), Tensor(), Tensor()) : frame;
  }
  for (int64_t b = 0; b < s.kBatch; b++)
    for (int64_t f = 0; f < all; f++) c.add(pose_of(b, s.index_of(f)), s.index_of(f), f + 1 < all ? 0 : s.tau.back());
  const WorldModel::Output next =
      s.model.apply(tape, clean, s.with_forecast(s.noised.back(), all - 1), c, false, WorldModel::Noised::next);
  EXPECT_EQ(bits_of(expected), bits_of(next.velocity));
}

TEST(WorldModel, ANoisedCopySeesItsPastAndTheAnchorsButNotItself) {
  Sequence s;
  const auto first_target = [&](WorldModel::Output o) { return bits_of(o.velocity.slice(1, 0, 1).clone()); };
  const Bits before = first_target(s.whole());
  const int64_t a = s.config.anchors, target = a + s.kFrames - s.kTargets;
  const auto changed = [&](int64_t f) {
    Sequence other;
    std::vector<float> v = other.latents[size_t(f)].floats();
    for (float& x : v) x += 1;
    other.latents[size_t(f)].copy_from(std::span<const float>(v));
    return first_target(other.whole()) != before;
  };
  EXPECT_TRUE(changed(0)) << "an anchor";
  EXPECT_TRUE(changed(target - 1)) << "the frame before";
  EXPECT_FALSE(changed(target)) << "its clean original";
  EXPECT_FALSE(changed(target + 1)) << "what comes later";
}

TEST(WorldModel, EveryParameterLearns) {
  for (bool shared : {false, true}) {
    Sequence s(shared);
    Tape tape(s.runtime);
    s.parameters.watch(tape);
    const int64_t all = s.config.anchors + s.kFrames;
    const Tensor clean = random(s.runtime, {s.kBatch, all, 4, 6, 8}, 7), noised = random(s.runtime, {s.kBatch, 3, 4, 6, 8}, 8);
    FrameConditions c;
    for (int64_t b = 0; b < s.kBatch; b++)
      for (int64_t f = 0; f < all + 3; f++) c.add(pose_of(b, f), f % kWindowFrames, f < all ? 0 : 0.5f, f == all);
    const WorldModel::Output out = s.model.apply(tape, clean, noised, c, true);
    for (const Tensor& y : {out.velocity, out.plan.mean, out.plan.log_scale, out.plan.logits})
      tape.seed(y, random(s.runtime, y.sizes(), 9));
    tape.backward();
    const std::vector<Tensor> gradients = s.parameters.gradients(tape);
    for (size_t i = 0; i < gradients.size(); i++) {
      ASSERT_TRUE(gradients[i]) << s.parameters[i].name;
      double sum = 0;
      for (float v : gradients[i].floats()) sum += std::abs(double(v));
      EXPECT_GT(sum, 0) << s.parameters[i].name;
      EXPECT_TRUE(std::isfinite(sum)) << s.parameters[i].name;
    }
  }
}

// ---- against PyTorch: what tests/model_world_model_expected.py does, line by line ----

// Multiples of 2^-23 in [-1, 1), by the last steps of MurmurHash3.
Tensor hashed(const Runtime& r, const Sizes& sizes, uint32_t seed) {
  std::vector<float> v(size_t(sizes.count()));
  for (size_t i = 0; i < v.size(); i++) {
    uint32_t x = uint32_t(i) ^ (seed * 0x9E3779B9u);
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    v[i] = float((x ^ (x >> 16)) >> 8) * 0x1p-23f - 1;
  }
  return r.from(v, sizes);
}

struct Expected {
  std::vector<float> velocity, mean, log_scale, logits, losses;
  std::map<std::string, float> gradient_norms;
};
const Expected kPerBlock{{0.653383f, 0.847417f, -0.729180f, -0.030781f, 0.921531f, 0.389740f,
    -1.660946f, 1.771518f, -0.645070f, 0.672317f, -1.351947f, 0.083757f},
    {-1.426176f, 0.455398f, -0.265247f, -0.992964f},
    {0.064427f, 0.093381f, 1.995254f, 0.223020f},
    {0.815352f, 0.782492f},
    {1.199410f, 1.690588f},
    {{"embed.weight", 0.770740f},
     {"tau.in.weight", 1.058673f},
     {"index", 0.207274f},
     {"blocks.0.attention.qkv.weight", 0.108938f},
     {"blocks.1.attention.k_norm.weight", 0.005847f},
     {"blocks.2.mlp.down.weight", 0.168426f},
     {"blocks.0.modulation.weight", 0.264253f},
     {"plan.blocks.0.up.weight", 0.104733f}}};
const Expected kShared{{-0.353615f, 1.256503f, -0.162798f, 0.999804f, -1.070426f, 0.978480f,
    0.544072f, -0.331358f, -0.154579f, 0.215300f, 0.132368f, 0.334715f},
    {0.017726f, -0.368683f, 0.659883f, -0.826527f},
    {0.194789f, -0.147227f, 0.324230f, -0.039824f},
    {0.083753f, 0.341095f},
    {0.963440f, 1.285585f},
    {{"embed.weight", 0.607612f},
     {"tau.in.weight", 0.464803f},
     {"index", 0.128256f},
     {"blocks.0.attention.qkv.weight", 0.095899f},
     {"blocks.1.attention.k_norm.weight", 0.003051f},
     {"blocks.2.mlp.down.weight", 0.174364f},
     {"modulation.weight", 0.350107f},
     {"plan.blocks.0.up.weight", 0.064977f}}};

void expect_near(const std::vector<float>& expected, const std::vector<float>& got, const char* what) {
  ASSERT_EQ(expected.size(), got.size()) << what;
  for (size_t i = 0; i < got.size(); i++)
    EXPECT_TRUE(std::abs(got[i] - expected[i]) <= 1e-4f) << what << "[" << i << "]: " << got[i] << ", not " << expected[i];
}

// And gives the bits of what it computed.
std::vector<std::vector<uint32_t>> expect_what_pytorch_computes(bool shared, int64_t recompute) {
  constexpr int64_t kClean = 5, kTargets = 3;
  Runtime r;
  Parameters parameters(r);
  const WorldModel model(parameters, small(shared));
  for (size_t i = 0; i < parameters.size(); i++) {
    const Parameter& p = parameters[i];
    std::vector<float> v = hashed(r, p.value.sizes(), uint32_t(i + 1)).floats();
    for (float& f : v) f = p.name.ends_with("norm.weight") ? 1 + 0.5f * f : 0.25f * f;
    p.value.copy_from(std::span<const float>(v));
  }
  const FrameConditions c{.pose = hashed(r, {10, kPoseFeatures}, 200).floats(),
                          .index = {20, 21, 0, 1, 2, 3, 4, 2, 3, 4},
                          .withheld = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
                          .tau = {0, 0, 0, 0, 0, 0, 0, 0.75f, 0.5f, 0.25f}};
  const Tensor frames = hashed(r, {1, 10, 4, 6, 8}, 201);
  Tape tape(r);
  parameters.watch(tape);
  const WorldModel::Output out = model.apply(tape, frames.slice(1, 0, 7), frames.slice(1, 7, kTargets), c, true,
                                             WorldModel::Noised::copies, recompute);
  std::vector<float> known = hashed(r, {kClean, kPlanSize}, 204).floats();
  for (float& f : known) f = f > 0;
  const Tensor velocity = tape.reshape(out.velocity, {1, kTargets * 96});
  const Tensor of_velocity = tape.apply(FlowLoss{}, velocity, hashed(r, {1, kTargets * 96}, 202), Tensor());
  const Tensor of_plan = tape.apply(MhpLaplace{.nll_scale = 1 / float(kPlanSize)}, out.plan.mean, out.plan.log_scale,
                                    out.plan.logits, hashed(r, {kClean, kPlanSize}, 203), r.from(known, {kClean, kPlanSize}));
  tape.seed(of_velocity, r.from(std::vector<float>{1 / float(kTargets * 96)}, {1}));
  tape.seed(of_plan, r.from(std::vector<float>(kClean, 0.1f / kClean), {kClean}));
  tape.backward();

  const Expected& e = shared ? kShared : kPerBlock;
  const std::vector<float> v = out.velocity.floats();
  std::vector<float> at;
  for (int64_t t = 0; t < kTargets; t++)  // row 1, column 2
    at.insert(at.end(), v.begin() + t * 96 + 32, v.begin() + t * 96 + 36);
  expect_near(e.velocity, at, "velocity");
  const auto plan = [&](const Tensor& guesses) {
    const std::vector<float> g = guesses.floats();
    const auto last = g.end() - 2 * kPlanSize;
    return std::vector<float>{last[0], last[1], last[kPlanSize], last[kPlanSize + 1]};
  };
  expect_near(e.mean, plan(out.plan.mean), "mean");
  expect_near(e.log_scale, plan(out.plan.log_scale), "log_scale");
  const std::vector<float> logits = out.plan.logits.floats();
  expect_near(e.logits, {logits.end()[-2], logits.end()[-1]}, "logits");
  float losses[2] = {of_velocity.floats()[0] / (kTargets * 96), 0};
  for (float l : of_plan.floats()) losses[1] += l / kClean;
  expect_near(e.losses, {losses[0], losses[1]}, "losses");
  const std::vector<Tensor> gradients = parameters.gradients(tape);
  size_t found = 0;
  for (size_t i = 0; i < gradients.size(); i++) {
    if (!e.gradient_norms.contains(parameters[i].name)) continue;
    found++;
    double sum = 0;
    for (float g : gradients[i].floats()) sum += double(g) * double(g);
    EXPECT_TRUE(std::abs(float(std::sqrt(sum)) - e.gradient_norms.at(parameters[i].name)) <= 1e-5f)
        << parameters[i].name << ": " << std::sqrt(sum);
  }
  EXPECT_EQ(found, e.gradient_norms.size());
  std::vector<std::vector<uint32_t>> bits{bits_of(out.velocity), bits_of(out.plan.mean), bits_of(out.plan.log_scale),
                                          bits_of(out.plan.logits)};
  for (const Tensor& g : gradients) bits.push_back(bits_of(g));
  return bits;
}

TEST(WorldModel, ComputesWhatPyTorchDoes) { expect_what_pytorch_computes(false, 0); }
TEST(WorldModel, ComputesWhatPyTorchDoesWithSharedModulationAndBlocksThatKeepLessChangeNoBit) {
  const auto expected = expect_what_pytorch_computes(true, 0);
  for (int64_t recompute : {2, 3}) EXPECT_EQ(expect_what_pytorch_computes(true, recompute), expected) << recompute;
}

TEST(WorldModel, ThreadsChangeNoBit) {
  Sequence one(false, 1), three(false, 3);
  EXPECT_EQ(bits_of(one.whole().velocity), bits_of(three.whole().velocity));
}

TEST(WorldRollout, GeneratesTheSameLatentsFromTheSameNoiseAndFollowsGuidance) {
  Sequence s;
  const auto generate = [&](float guidance) {
    WorldRollout r(s.runtime, s.model, s.kBatch, euler_schedule(4));
    for (int64_t f = 0; f < s.config.anchors; f++) r.add_anchor(s.latents[size_t(f)], s.forecast(f), s.conditions(f, 0));
    for (int64_t f = s.config.anchors; f < s.config.anchors + 3; f++) r.append(s.latents[size_t(f)], s.forecast(f), s.conditions(f, 0));
    r.begin_frame(s.forecast(s.config.anchors + 3), s.conditions(s.config.anchors + 3, 0), guidance != 1);
    return bits_of(r.generate(s.noised[0], guidance));
  };
  EXPECT_EQ(generate(1), generate(1));
  EXPECT_NE(generate(1), generate(2));
}

TEST(WorldRollout, RefusesFramesBeforeItsAnchors) {
  Sequence s;
  WorldRollout r(s.runtime, s.model, s.kBatch, euler_schedule(4));
  EXPECT_THROW(r.append(s.latents[0], s.forecast(0), s.conditions(0, 0)), Error);
  EXPECT_THROW(r.velocity(s.noised[0], 0), Error);
}

}  // namespace
}  // namespace dr::test
