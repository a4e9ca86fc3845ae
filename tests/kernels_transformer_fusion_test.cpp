// Ops of a transformer block that do the work of several equal them in turn, bit for bit, with f32 tensors (numerics:
// fusion), on any instruction set and any number of threads.

#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/qkv_attention/qkv_attention.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rotary_table/rotary_table.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

class TransformerFusion : public KernelTest {
 protected:
  TransformerFusion() : KernelTest(1 << 23, 2) {}
};

constexpr int64_t B = 2, L = 30, H = 19, D = 40;  // two chunks of rows in a leaf

// Slice `part` (q, k or v) of a fused (B,L,3,H,D).
View part_of(const View& qkv, int64_t part) {
  View v = qkv.slice(2, part, 1);
  v.sizes = {B, L, H, D};
  v.strides = {qkv.stride(0), qkv.stride(1), qkv.stride(3), 1};
  return v;
}

Tensor packed(const View& v) {
  Tensor t({B, L, H, D});
  for (int64_t b = 0; b < B; b++)
    for (int64_t l = 0; l < L; l++)
      for (int64_t h = 0; h < H; h++)
        for (int64_t d = 0; d < D; d++) t.view.at<float>(b, l, h, d) = v.at<float>(b, l, h, d);
  return t;
}

TEST_P(TransformerFusion, QkNormRotaryIsRmsNormThenRotary) {
  const Sizes heads{B, L, H, D}, rows{B * L * H, D};
  Tensor qkv({B, L, 3, H, D}, 1, 3), wq({D}, 2), wk({D}, 3), dq({B, L, H, D}, 4), dk({B, L, H, D}, 5);
  std::vector<int32_t> position(size_t(B * L * 3));
  for (size_t i = 0; i < position.size(); i++) position[i] = int32_t(i * 7 % 50);
  Tensor cos({B, L, D / 2}), sin({B, L, D / 2});
  run_forward(ctx_, RotaryTable{.share = {6, 7, 7}}, {View(position.data(), DType::i32, {B, L, 3})},
              {cos.view, sin.view});

  for (bool tables : {true, false}) {
    const View c = tables ? cos.view : View(), s = tables ? sin.view : View();
    const QkNormRotary::In in{part_of(qkv.view, 0), part_of(qkv.view, 1), wq.view, wk.view, c, s};
    Tensor q(heads), k(heads), q_rstd({B, L, H}), k_rstd({B, L, H}), dx_q(heads), dx_k(heads), dwq({2, D}), dwk({2, D});
    const QkNormRotary::Out out{q.view, k.view, q_rstd.view, k_rstd.view};
    run_forward(ctx_, QkNormRotary{}, in, out);
    run_backward(ctx_, QkNormRotary{}, in, out, {dq.view, dk.view}, {dx_q.view, dx_k.view, dwq.view, dwk.view});

    auto in_turn = [&](const View& x_strided, Tensor& w, Tensor& dy, Tensor& y, Tensor& dx, Tensor& dw) {
      Tensor x = packed(x_strided), n(heads), rstd({B * L * H}), y2(heads), dn(heads), dx2(heads), dw2({2, D});
      const RmsNorm::In norm_in{x.as(rows), w.view};
      run_forward(ctx_, RmsNorm{}, norm_in, {n.as(rows), rstd.view});
      if (tables) {
        run_forward(ctx_, Rotary{}, {n.view, c, s}, {y2.view});
        run_backward(ctx_, Rotary{}, {n.view, c, s}, {y2.view}, {dy.view}, {dn.view});
      }
      run_backward(ctx_, RmsNorm{}, norm_in, {n.as(rows), rstd.view}, {(tables ? dn : dy).as(rows)},
                   {dx2.as(rows), dw2.view});
      expect_same_bits(y, tables ? y2 : n, "y");
      expect_same_bits(dx, dx2, "dx");
      expect_same_bits(dw, dw2, "dweight");
    };
    in_turn(in.q, wq, dq, q, dx_q, dwq);
    in_turn(in.k, wk, dk, k, dx_k, dwk);

    // Attention takes the results and the values where they lie.
    Tensor y(heads), y2(heads), max({B, H, L}), den({B, H, L}), v = packed(part_of(qkv.view, 2));
    const Attention attention{.mask = {.tokens_per_frame = 5, .anchors = 1, .window = 2}};
    run_forward(ctx_, attention, {q.view, k.view, part_of(qkv.view, 2)}, {y.view, max.view, den.view});
    run_forward(ctx_, attention, {q.view, k.view, v.view}, {y2.view, max.view, den.view});
    expect_same_bits(y, y2, "attention");
  }
}

// Numbers of either type.
struct Stored {
  std::vector<float> data;  // of bf16 the first half
  View view;
  explicit Stored(DType t, Sizes sizes, uint32_t seed = 0, float scale = 1)
      : data(Tensor(sizes, seed, scale).data), view(data.data(), t, sizes) {
    if (t != DType::bf16) return;
    std::vector<bf16> narrow;
    for (float v : data) narrow.push_back(to_bf16(v));
    std::memcpy(data.data(), narrow.data(), view.bytes());
  }
};

// Of tensors (B,L,H,D), head by head.
void expect_same_heads(const View& a, const View& b, const char* what) {
  ASSERT_TRUE(a.sizes == b.sizes && a.dtype == b.dtype) << what;
  const auto head = [](const View& v, int64_t i, int64_t l, int64_t h) {
    return v.slice(0, i, 1).slice(1, l, 1).slice(2, h, 1).data;
  };
  for (int64_t i = 0; i < B; i++)
    for (int64_t l = 0; l < L; l++)
      for (int64_t h = 0; h < H; h++)
        ASSERT_EQ(std::memcmp(head(a, i, l, h), head(b, i, l, h), size_t(D) * size_of(a.dtype)), 0)
            << what << " " << i << "," << l << "," << h;
}

// With bf16 tensors too: the heads between the two are stored alike. Attention's gradients of q and k, which the fused
// op puts in the place of q and k, have places of their own here.
TEST_P(TransformerFusion, QkvAttentionIsQkNormRotaryThenAttention) {
  const Sizes heads{B, L, H, D}, rows{B, L, H}, row_of_max{B, H, L};
  const FrameMask mask{.tokens_per_frame = 5, .anchors = 1, .window = 2};
  const float scale = 0.3f, eps = 1e-3f;
  Tensor wq({D}, 2), wk({D}, 3), cos({B, L, D / 2}, 4), sin({B, L, D / 2}, 5);
  for (DType t : {DType::f32, DType::bf16})
    for (bool options : {true, false}) {
      const auto optional = [&](const Tensor& x) { return options ? x.view : View(); };
      Stored qkv(t, {B, L, 3, H, D}, 1, 3), dy(t, heads, 6);
      Stored y(t, heads), dqkv(t, qkv.view.sizes);
      Tensor max(row_of_max), den(row_of_max), dwq({2, D}), dwk({2, D});
      const QkvAttention op{.mask = mask, .scale = scale, .eps = eps};
      const QkvAttention::In in{qkv.view, optional(wq), optional(wk), optional(cos), optional(sin)};
      const QkvAttention::Out out{y.view, max.view, den.view};
      run_forward(ctx_, op, in, out);
      run_backward(ctx_, op, in, out, {dy.view}, {dqkv.view, optional(dwq), optional(dwk)});

      const QkNormRotary norm{.eps = eps};
      const Attention attention{.mask = mask, .scale = scale};
      Stored q(t, heads), k(t, heads), y2(t, heads), dq(t, heads), dk(t, heads), dv(t, heads), dx_q(t, heads),
          dx_k(t, heads);
      Tensor q_rstd(rows), k_rstd(rows), max2(row_of_max), den2(row_of_max), dwq2({2, D}), dwk2({2, D});
      const QkNormRotary::In norm_in{part_of(qkv.view, 0), part_of(qkv.view, 1), in.q_weight, in.k_weight, in.cos,
                                     in.sin};
      const QkNormRotary::Out norm_out{q.view, k.view, q_rstd.view, k_rstd.view};
      const Attention::In attention_in{q.view, k.view, part_of(qkv.view, 2)};
      const Attention::Out attention_out{y2.view, max2.view, den2.view};
      run_forward(ctx_, norm, norm_in, norm_out);
      run_forward(ctx_, attention, attention_in, attention_out);
      run_backward(ctx_, attention, attention_in, attention_out, {dy.view}, {dq.view, dk.view, dv.view});
      run_backward(ctx_, norm, norm_in, norm_out, {dq.view, dk.view},
                   {dx_q.view, dx_k.view, optional(dwq2), optional(dwk2)});
      expect_same_heads(y.view, y2.view, "y");
      expect_same_bits(max, max2, "max");
      expect_same_bits(den, den2, "den");
      expect_same_heads(part_of(dqkv.view, 0), dx_q.view, "dq");
      expect_same_heads(part_of(dqkv.view, 1), dx_k.view, "dk");
      expect_same_heads(part_of(dqkv.view, 2), dv.view, "dv");
      expect_same_bits(dwq, dwq2, "dq_weight");
      expect_same_bits(dwk, dwk2, "dk_weight");
    }
}

// A score depends on the distance of two positions alone.
TEST_P(TransformerFusion, RotaryScoresDependOnDistances) {
  const int64_t length = 9;
  Tensor q({1, 1, 1, D}, 1), k({1, 1, 1, D}, 2), qs({1, length, 1, D}), ks({1, length, 1, D});
  for (int64_t t = 0; t < length; t++)
    for (int64_t d = 0; d < D; d++) {
      qs.view.at<float>(0, t, 0, d) = q.data[size_t(d)];
      ks.view.at<float>(0, t, 0, d) = k.data[size_t(d)];
    }
  std::vector<int32_t> position;
  for (int32_t t = 0; t < length; t++) position.insert(position.end(), {t, 3 - 2 * t});
  Tensor cos({1, length, D / 2}), sin({1, length, D / 2}), qr({1, length, 1, D}), kr({1, length, 1, D});
  run_forward(ctx_, RotaryTable{.share = {12, 8}}, {View(position.data(), DType::i32, {1, length, 2})},
              {cos.view, sin.view});
  run_forward(ctx_, Rotary{}, {qs.view, cos.view, sin.view}, {qr.view});
  run_forward(ctx_, Rotary{}, {ks.view, cos.view, sin.view}, {kr.view});
  auto score = [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t d = 0; d < D; d++) sum += double(qr.view.at<float>(0, i, 0, d)) * kr.view.at<float>(0, j, 0, d);
    return sum;
  };
  for (int64_t distance = 0; distance < 4; distance++)
    for (int64_t t = 1; t + distance < length; t++)
      EXPECT_NEAR(score(t, t + distance), score(0, distance), 1e-4) << distance;
  EXPECT_GT(std::abs(score(0, 0) - score(0, 3)), 1e-2) << "the rotation should show";
}

// Frames of 190 rows, of which chunks of 512 rows of a leaf cut some; channels and hidden units in two chunks each.
constexpr int64_t F = 6, R = F * 190, C = 520, M = 530;

TEST_P(TransformerFusion, AdaLNLinearIsAdaLNThenLinear) {
  Tensor x({R, C}, 1, 3), shift({F, C}, 2), scale({F, C}, 3, 0.5f), w({M, C}, 4, 0.1f), b({M}, 5), dy({R, M}, 6);
  for (Norm norm : {Norm::layer, Norm::rms}) {
    const bool centred = norm == Norm::layer;
    Tensor y({R, M}), mean({R}), rstd({R}), dx({R, C}), dshift({F, C}), dscale({F, C}), dw({2, M, C}), db({2, M});
    const AdaLNLinear op{.norm = norm};
    const AdaLNLinear::In in{x.view, shift.view, scale.view, w.view, b.view};
    const AdaLNLinear::Out out{y.view, centred ? mean.view : View(), rstd.view};
    run_forward(ctx_, op, in, out);
    run_backward(ctx_, op, in, out, {dy.view}, {dx.view, dshift.view, dscale.view, dw.view, db.view});

    Tensor a({R, C}), y2({R, M}), mean2({R}), rstd2({R}), da({R, C}), dx2({R, C}), dshift2({F, C}), dscale2({F, C}),
        dw2({2, M, C}), db2({2, M});
    const AdaLN adaln{.norm = norm};
    const AdaLN::Out saved{a.view, centred ? mean2.view : View(), rstd2.view};
    run_forward(ctx_, adaln, {x.view, shift.view, scale.view}, saved);
    run_forward(ctx_, Linear{}, {a.view, w.view, b.view}, {y2.view});
    run_backward(ctx_, Linear{}, {a.view, w.view, b.view}, {y2.view}, {dy.view}, {da.view, dw2.view, db2.view});
    run_backward(ctx_, adaln, {x.view, shift.view, scale.view}, saved, {da.view},
                 {dx2.view, dshift2.view, dscale2.view});
    expect_same_bits(y, y2, "y");
    expect_same_bits(mean, mean2, "mean");
    expect_same_bits(rstd, rstd2, "rstd");
    expect_same_bits(dx, dx2, "dx");
    expect_same_bits(dshift, dshift2, "dshift");
    expect_same_bits(dscale, dscale2, "dscale");
    expect_same_bits(dw, dw2, "dweight");
    expect_same_bits(db, db2, "dbias");
  }
}

TEST_P(TransformerFusion, AdaLNMlpIsItsPartsInTurn) {
  Tensor x({R, C}, 1, 3), shift({F, C}, 2), scale({F, C}, 3, 0.5f), gate({F, C}, 4), up({M, C}, 5, 0.1f), up_b({M}, 6),
      down({C, M}, 7, 0.1f), down_b({C}, 8), dy({R, C}, 9);
  for (const auto& [norm, keep_pre] : {std::pair(Norm::layer, true), {Norm::rms, true}, {Norm::layer, false}}) {
    const bool centred = norm == Norm::layer;
    Tensor y({R, C}), mean({R}), rstd({R}), pre({R, M}), h({R, C});
    Tensor dx({R, C}), dshift({F, C}), dscale({F, C}), dgate({F, C}), dup({2, M, C}), dup_b({2, M}), ddown({2, C, M}),
        ddown_b({2, C});
    const AdaLNMlp op{.norm = norm, .keep_pre = keep_pre};
    const AdaLNMlp::In in{x.view,  shift.view, scale.view, gate.view,
                          up.view, up_b.view,  down.view,  down_b.view};
    const AdaLNMlp::Out out{y.view, centred ? mean.view : View(), rstd.view, keep_pre ? pre.view : View(), h.view};
    run_forward(ctx_, op, in, out);
    run_backward(ctx_, op, in, out, {dy.view},
                 {dx.view, dshift.view, dscale.view, dgate.view, dup.view, dup_b.view, ddown.view, ddown_b.view});

    const AdaLN adaln{.norm = norm};
    Tensor n({R, C}), mean2({R}), rstd2({R}), a({R, M}), pre2({R, M}), y2({R, C}), h2({R, C});
    const AdaLN::In adaln_in{x.view, shift.view, scale.view};
    const AdaLN::Out adaln_out{n.view, centred ? mean2.view : View(), rstd2.view};
    const LinearGelu::In up_in{n.view, up.view, up_b.view};
    const LinearGatedResidual::In down_in{a.view, down.view, down_b.view, gate.view, x.view};
    run_forward(ctx_, adaln, adaln_in, adaln_out);
    run_forward(ctx_, LinearGelu{}, up_in, {a.view, pre2.view});
    run_forward(ctx_, LinearGatedResidual{}, down_in, {y2.view, h2.view});
    Tensor da({R, M}), dn({R, C}), dx2({R, C}), dround({R, C}), dshift2({F, C}), dscale2({F, C}), dgate2({F, C}),
        dup2({2, M, C}), dup_b2({2, M}), ddown2({2, C, M}), ddown_b2({2, C});
    run_backward(ctx_, LinearGatedResidual{}, down_in, {y2.view, h2.view}, {dy.view},
                 {da.view, ddown2.view, ddown_b2.view, dgate2.view, dround.view});
    run_backward(ctx_, LinearGelu{}, up_in, {a.view, pre2.view}, {da.view}, {dn.view, dup2.view, dup_b2.view});
    run_backward(ctx_, adaln, adaln_in, adaln_out, {dn.view}, {dx2.view, dshift2.view, dscale2.view});
    run_forward(ctx_, Add{}, {dround.view, dx2.view}, {dx2.view});
    expect_same_bits(y, y2, "y");
    expect_same_bits(mean, mean2, "mean");
    expect_same_bits(rstd, rstd2, "rstd");
    if (keep_pre) expect_same_bits(pre, pre2, "pre");
    expect_same_bits(h, h2, "h");
    expect_same_bits(dx, dx2, "dx");
    expect_same_bits(dshift, dshift2, "dshift");
    expect_same_bits(dscale, dscale2, "dscale");
    expect_same_bits(dgate, dgate2, "dgate");
    expect_same_bits(dup, dup2, "dup");
    expect_same_bits(dup_b, dup_b2, "dup_bias");
    expect_same_bits(ddown, ddown2, "ddown");
    expect_same_bits(ddown_b, ddown_b2, "ddown_bias");
  }
}

INSTANTIATE_TEST_SUITE_P(All, TransformerFusion,
                         testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 2, 3)),
                         backend_and_threads);

}  // namespace
}  // namespace dr
