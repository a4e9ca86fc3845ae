// The tokenizer on a tape: shapes, where gradients go, what the batch must not change, and the scale of its latents.

#include <gtest/gtest.h>

#include "kernels/flow_loss/flow_loss.h"
#include "model/tokenizer.h"
#include "tests/io_files.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

using Floats = std::vector<float>;

constexpr TokenizerConfig kSmall{.outer = 8, .inner = 32, .encoder_outer = 1, .encoder_inner = 1, .decoder_inner = 2, .decoder_outer = 1};

class TokenizerTest : public testing::Test {
 protected:
  TokenizerTest() { parameters.initialise(5); }

  Floats encode(const Tensor& images) {
    Tape tape(runtime, {.gradients = false});
    return tokenizer.encode(tape, images).floats();
  }
  Floats decode(const Tensor& latents) {
    Tape tape(runtime, {.gradients = false});
    return tokenizer.decode(tape, latents).floats();
  }
  void set_statistics(const LatentStatistics& s) {
    parameters.at("latent.mean").value.copy_from(std::span(s.mean));
    parameters.at("latent.deviation").value.copy_from(std::span(s.deviation));
  }

  Runtime runtime{{.threads = 2}};
  Parameters parameters{runtime};
  Tokenizer tokenizer{runtime, parameters, kSmall};
  Tensor images = random(runtime, {3, 24, 40, 3}, 9);
};

TEST_F(TokenizerTest, EightByEightPixelsAreFourNumbers) {
  Tape tape(runtime, {.gradients = false});
  const Tensor latents = tokenizer.encode(tape, images);
  EXPECT_EQ(latents.sizes(), (Sizes{3, 3, 5, 4}));
  EXPECT_EQ(tokenizer.decode(tape, latents).sizes(), images.sizes());
}

TEST_F(TokenizerTest, AFrameAloneHasTheBitsThatItHasInABatch) {
  set_statistics({{0.1f, -0.2f, 0.3f, 0}, {0.5f, 2, 1, 0.7f}});
  const Floats latents = encode(images);
  const Tensor z = runtime.from(latents, {3, 3, 5, 4});
  const Floats decoded = decode(z);
  for (int64_t i = 0; i < 3; i++) {
    const Floats one = encode(images.slice(0, i, 1).clone()), back = decode(z.slice(0, i, 1).clone());
    EXPECT_TRUE(std::equal(one.begin(), one.end(), latents.begin() + i * 60));
    EXPECT_TRUE(std::equal(back.begin(), back.end(), decoded.begin() + i * 24 * 40 * 3));
  }
}

TEST_F(TokenizerTest, GradientsReachEveryParameterButTheStatistics) {
  Tape tape(runtime);
  parameters.watch(tape);
  const Tensor out = tokenizer.decode_raw(tape, tokenizer.encode_raw(tape, images));
  tape.backward(tape.apply(FlowLoss{}, out, images, Tensor()), runtime.ones(DType::f32, {3}));
  const std::vector<Tensor> gradients = parameters.gradients(tape);
  for (size_t i = 0; i < gradients.size(); i++) {
    const std::string& name = parameters[i].name;
    ASSERT_EQ(gradients[i].present(), !name.starts_with("latent.")) << name;
    if (!gradients[i]) continue;
    const Floats g = gradients[i].floats();
    EXPECT_TRUE(std::any_of(g.begin(), g.end(), [](float v) { return v != 0; })) << name;
    EXPECT_TRUE(std::all_of(g.begin(), g.end(), [](float v) { return std::isfinite(v); })) << name;
  }
}

TEST_F(TokenizerTest, LatentsAreOfUnitVarianceOnceTheirStatisticsAreKnown) {
  Tape tape(runtime, {.gradients = false});
  const Tensor raw = tokenizer.encode_raw(tape, images);
  const Floats before = tokenizer.decode_raw(tape, raw).floats();
  for (int64_t i = 0; i < 3; i++) {  // of each frame, over all its numbers
    double squares = 0;
    for (float v : raw.slice(0, i, 1).floats()) squares += double(v) * double(v);
    EXPECT_NEAR(squares / 60, 1, 1e-3);
  }
  const LatentStatistics measured = latent_statistics(raw.floats());
  for (size_t c = 0; c < 4; c++) EXPECT_GT(std::abs(measured.mean[c]) + std::abs(measured.deviation[c] - 1), 1e-3f);
  set_statistics(measured);
  const Floats latents = encode(images);
  const LatentStatistics now = latent_statistics(latents);
  for (size_t c = 0; c < 4; c++) {
    EXPECT_NEAR(now.mean[c], 0, 1e-5);
    EXPECT_NEAR(now.deviation[c], 1, 1e-5);
  }
  const Floats after = decode(runtime.from(latents, raw.sizes()));
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); i++) ASSERT_NEAR(after[i], before[i], 1e-4) << i;
}

TEST_F(TokenizerTest, RefusesWhatIsNoImage) {
  Tape tape(runtime, {.gradients = false});
  EXPECT_TRUE(holds(error_of([&] { tokenizer.encode(tape, random(runtime, {1, 24, 36, 3}, 1)); }), "multiples of 8"));
  EXPECT_TRUE(holds(error_of([&] { tokenizer.encode(tape, random(runtime, {1, 24, 32, 4}, 1)); }), "(N,H,W,3)"));
  EXPECT_TRUE(holds(error_of([&] { tokenizer.decode(tape, random(runtime, {1, 3, 4, 3}, 1)); }), "(N,h,w,4)"));
  EXPECT_TRUE(holds(error_of([] { latent_statistics({1, 2, 3}); }), "no latents"));
}

}  // namespace
}  // namespace dr::test
