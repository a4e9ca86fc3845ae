// What turns frames and numbers into tokens: patchify and unpatchify undo each other, and embedding refuses numbers
// that its table does not have.

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/embedding/embedding.h"
#include "kernels/patchify/patchify.h"
#include "kernels/unpatchify/unpatchify.h"

namespace dr {
namespace {

Context context() {
  Context ctx;
  ctx.backend = cpu_backends()[0];
  return ctx;
}

// x[b,t,h,w,c] holds its own place: the patch (c, pt, ph, pw) of a token is then known by arithmetic.
TEST(Patchify, LaysOutPatchesChannelsFirst) {
  const int64_t T = 4, H = 6, W = 8, C = 5;
  std::vector<float> x(size_t(T * H * W * C)), y(x.size());
  std::iota(x.begin(), x.end(), 0.f);
  const Patchify op{.patch_h = 3, .patch_w = 2, .patch_t = 2, .order = PatchOrder::channels_first};
  const View video(x.data(), DType::f32, {1, T, H, W, C});
  Context ctx = context();
  const Shapes shapes = op.infer({video});
  ASSERT_EQ(shapes[0].sizes, (Sizes{1, 2 * 2 * 4, 5 * 2 * 3 * 2}));
  const View tokens(y.data(), DType::f32, shapes[0].sizes);
  run_forward(ctx, op, {video}, {tokens});
  // token (1, 0, 3), patch element (c, pt, ph, pw) = (4, 1, 2, 1): frame 3, row 2, column 7
  const int64_t token = (1 * 2 + 0) * 4 + 3, p = ((4 * 2 + 1) * 3 + 2) * 2 + 1;
  EXPECT_EQ(tokens.at<float>(0, token, p), float(((3 * H + 2) * W + 7) * C + 4));
}

TEST(Patchify, UnpatchifyUndoesIt) {
  std::vector<float> x(2 * 4 * 6 * 8 * 5), tokens(x.size()), back(x.size());
  std::iota(x.begin(), x.end(), 0.f);
  const Sizes video{2, 4, 6, 8, 5}, images{8, 6, 8, 5};
  Context ctx = context();
  for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first}) {
    const Patchify cut{.patch_h = 3, .patch_w = 2, .patch_t = 2, .order = o};
    const Unpatchify join{.rows = 2, .columns = 4, .patch_h = 3, .patch_w = 2, .frames = 2, .patch_t = 2, .order = o};
    const View t(tokens.data(), DType::f32, cut.infer({View(x.data(), DType::f32, video)})[0].sizes);
    run_forward(ctx, cut, {View(x.data(), DType::f32, video)}, {t});
    EXPECT_NE(tokens, x);
    ASSERT_EQ(join.infer({t})[0].sizes, video);
    run_forward(ctx, join, {t}, {View(back.data(), DType::f32, video)});
    EXPECT_EQ(back, x);
  }
  const Patchify cut{.patch_h = 2, .patch_w = 4};
  const Unpatchify join{.rows = 3, .columns = 2, .patch_h = 2, .patch_w = 4};
  const View t(tokens.data(), DType::f32, cut.infer({View(x.data(), DType::f32, images)})[0].sizes);
  run_forward(ctx, cut, {View(x.data(), DType::f32, images)}, {t});
  ASSERT_EQ(join.infer({t})[0].sizes, images);
  run_forward(ctx, join, {t}, {View(back.data(), DType::f32, images)});
  EXPECT_EQ(back, x);
}

TEST(Embedding, RefusesANumberThatTheTableDoesNotHave) {
  std::vector<float> table(3 * 4, 1.f), y(5 * 4), dy(5 * 4, 1.f), dtable(3 * 4);
  const View t(table.data(), DType::f32, {3, 4});
  std::vector<std::byte> scratch(1024);
  Context ctx = context();
  ctx.scratch = scratch;
  for (int32_t wrong : {-1, 3, INT32_MAX, INT32_MIN}) {
    std::vector<int32_t> ids{0, 2, 1, wrong, -7};
    const Embedding::In in{t, View(ids.data(), DType::i32, {5})};
    const View out(y.data(), DType::f32, {5, 4});
    auto message = [](auto&& call) -> std::string {
      try {
        call();
      } catch (const Error& e) {
        return e.what();
      }
      return "";
    };
    const std::string expected =
        format("embedding: ids[3] (in row-major order) is {}, the table has rows 0 to 2", wrong);
    EXPECT_EQ(message([&] { run_forward(ctx, Embedding{}, in, {out}); }), expected);
    EXPECT_EQ(message([&] {
                run_backward(ctx, Embedding{}, in, {out}, {View(dy.data(), DType::f32, {5, 4})},
                             {View(dtable.data(), DType::f32, {1, 3, 4})});
              }),
              expected);
  }
}

}  // namespace
}  // namespace dr
