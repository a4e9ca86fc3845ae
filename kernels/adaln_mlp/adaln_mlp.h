#pragma once
// The second half of a transformer block: a multilayer perceptron behind adaptive normalisation and before a gate.
//
//   n = adaln(x, shift, scale)      pre = n up^T + up_bias      a = gelu_tanh(pre)      h = a down^T + down_bias
//   y[r,c] = gate[f,c] * h[r,c] + x[r,c],   f = r / (R / F)
//
//   x (R,C) f32|bf16, rows may be strided    shift, scale, gate (F,C) f32, rows may be strided    y like x, packed
//   up (M,C), down (C,M) f32|bf16; up_bias (M), down_bias (C) of their weight's type, either may be absent
//   saved for backward: mean (R) f32 (absent for Norm::rms), rstd (R), pre (R,M), h (R,C) f32
//   keep_pre: false leaves pre out; backward then computes it again, a seventh more work for a third of the memory
// Nothing else is kept of what is M wide: forward and backward go through the rows by 512, the length of a chain over
// rows, and backward through the M hidden units by 512 as well, making n and a again element by element. So the largest
// intermediate of backward is (512,512), and neither a nor the gradients of a and pre ever exist as a whole.
// Order: with f32 tensors the bits of AdaLN, LinearGelu and LinearGatedResidual in turn, and dx = dy + (the gradient of
//   AdaLN's x). With bf16 tensors what lies between stays f32.
// Deterministic; all but the gradients of the weights and biases is independent of R and of leaves. Throws as its parts
// do, or if M is 0.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2; Hendrycks & Gimpel 2016, arXiv:1606.08415.

#include "kernels/adaln/adaln.h"
#include "kernels/core/carver.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"

namespace dr {

// Scratch of a call on the CPU. Both passes work on one piece of at most kRows rows.
struct AdaLNMlpBuffers {
  static constexpr int64_t kRows = 512, kHidden = 512;

  float *n, *a;  // a piece's n and a; of a, backward holds kHidden columns at a time
  float *dh = nullptr, *dn = nullptr, *dpre = nullptr;
  float* pre = nullptr;  // where it was not kept
  // Chains over rows that are not at their end: of the gradients of shift, scale, gate, down_bias and up_bias.
  float *shift = nullptr, *scale = nullptr, *gate = nullptr, *bias = nullptr, *up_bias = nullptr;

  AdaLNMlpBuffers(int64_t rows, int64_t channels, int64_t hidden, bool backward, bool keep_pre, Carver& c)
      : n(c.take(rows * channels)), a(c.take(rows * (backward ? kHidden : hidden))) {
    if (!backward) return;
    dh = c.take(rows * channels), dn = c.take(rows * channels), dpre = c.take(rows * kHidden);
    if (!keep_pre) pre = c.take(rows * kHidden);
    shift = c.take(channels), scale = c.take(channels), gate = c.take(channels), bias = c.take(channels);
    up_bias = c.take(hidden);
  }
};

// And on a device, which wants longer pieces: of what is M wide two buffers of a piece, of what is C wide all rows.
struct AdaLNMlpDeviceBuffers {
  static constexpr int64_t kRows = 4096;  // whole chunks

  float *n, *dh;    // dn takes the place of n, piece by piece
  float *a, *dpre;  // of a piece

  AdaLNMlpDeviceBuffers(int64_t rows, int64_t channels, int64_t hidden, Carver& c)
      : n(c.take(rows * channels)), dh(c.take(rows * channels)), a(c.take(std::min(rows, kRows) * hidden)),
        dpre(c.take(std::min(rows, kRows) * hidden)) {}
};

struct AdaLNMlp {
  static constexpr std::string_view name = "adaln_mlp";
  float eps = 1e-6f;
  Norm norm = Norm::layer;
  bool keep_pre = true;

  struct In {
    View x, shift, scale, gate, up, up_bias, down, down_bias;
    static constexpr auto names = fields("x", "shift", "scale", "gate", "up", "up_bias", "down", "down_bias");
    static constexpr auto shared = fields("up", "up_bias", "down", "down_bias");
  };
  struct Out {
    View y, mean, rstd, pre, h;
    static constexpr auto names = fields("y", "mean", "rstd", "pre", "h");
  };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View x, shift, scale, gate, up, up_bias, down, down_bias;
    static constexpr auto names = fields("x", "shift", "scale", "gate", "up", "up_bias", "down", "down_bias");
  };

  AdaLN adaln() const { return {.eps = eps, .norm = norm}; }
  static AdaLN::In adaln_in(const In& in) { return {in.x, in.shift, in.scale}; }
  static int64_t hidden(const In& in) { return in.up.size(0); }

  Shapes infer(const In& in) const {
    Shapes s = adaln().infer(adaln_in(in));  // y, mean, rstd
    const int64_t rows = in.x.size(0), channels = in.x.size(1);
    const Sizes pre = linear_sizes(in.x, in.up, in.up_bias, "adaln_mlp: up");
    CHECK(hidden(in) > 0, "adaln_mlp: up must be (M,C) with M > 0, got {}", to_string(in.up));
    expect_sizes(in.down, {channels, hidden(in)}, "adaln_mlp: down");
    linear_sizes(View(nullptr, DType::f32, pre), in.down, in.down_bias, "adaln_mlp: down");
    expect_f32(in.gate, in.shift.sizes, "adaln_mlp: gate");
    s.push_back({DType::f32, keep_pre ? pre : Sizes{}});
    s.push_back({DType::f32, {rows, channels}});
    return s;
  }
  static int64_t piece_rows(const In& in) { return std::min(in.x.size(0), AdaLNMlpBuffers::kRows); }
  size_t scratch_bytes(const In& in, int) const {
    Carver forward, backward;
    AdaLNMlpBuffers(piece_rows(in), in.x.size(1), hidden(in), false, keep_pre, forward);
    AdaLNMlpBuffers(piece_rows(in), in.x.size(1), hidden(in), true, keep_pre, backward);
    return std::max(forward.bytes(), backward.bytes());
  }
  size_t device_scratch_bytes(const In& in) const {
    const int64_t rows = in.x.size(0), piece = std::min(rows, AdaLNMlpDeviceBuffers::kRows);
    Carver c;
    AdaLNMlpDeviceBuffers(rows, in.x.size(1), hidden(in), c);
    return c.bytes() + std::max({adaln().scratch_bytes(adaln_in(in), 1), linear_device_scratch(piece, in.up),
                                 linear_device_scratch(piece, in.down)});
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // What the gradients of the parts are off by adds up.
  double gradient_k(const In& in) const {
    const View a(nullptr, DType::f32, {in.x.size(0), hidden(in)});
    return adaln().gradient_k(adaln_in(in)) + LinearGelu{}.gradient_k({in.x, in.up, in.up_bias}) +
           LinearGatedResidual{}.gradient_k({a, in.down, in.down_bias, in.gate, in.x});
  }
  static double multiply_adds(const In& in) { return 2 * double(in.x.count()) * double(hidden(in)); }
  static double hidden_elements(const In& in) { return double(in.x.size(0)) * double(hidden(in)); }
  Cost cost(const In& in) const {
    return traffic(2 * multiply_adds(in) + 9 * hidden_elements(in) + 12 * double(in.x.count()), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    const double products = (keep_pre ? 4 : 5) * multiply_adds(in);
    return backward_traffic(products + 24 * hidden_elements(in) + 22 * double(in.x.count()), in, infer(in));
  }

  static std::vector<Case<AdaLNMlp>> cases() {
    struct Options {
      Norm norm = Norm::layer;
      DType t = DType::f32, w = DType::f32;
      bool bias = true;
      int64_t pad = 0;
      bool keep_pre = true;
    };
    auto make = [](int64_t frames, int64_t rows_per_frame, int64_t c, int64_t m, int samples, Options o) {
      const Input f = normal({frames, c}, 0, 0.5).padded(o.pad);
      Input gate = f;
      gate.a = 0.5;
      return Case<AdaLNMlp>(
          {.norm = o.norm, .keep_pre = o.keep_pre},
          {.name = format("F={},S={},C={},M={},{}x{}{}{}{}{}", frames, rows_per_frame, c, m, name_of(o.t), name_of(o.w),
                          o.norm == Norm::rms ? ",rms" : "", o.bias ? "" : ",no_bias", o.pad ? ",strided" : "",
                          o.keep_pre ? "" : ",again"),
           .in = {normal({frames * rows_per_frame, c}, 0.3, 2).as(o.t).padded(o.pad), f, f, gate,
                  normal({m, c}, 0, 1 / std::sqrt(double(c))).as(o.w).padded(o.pad),
                  o.bias ? normal({m}).as(o.w) : absent(),
                  normal({c, m}, 0, 1 / std::sqrt(double(m))).as(o.w).padded(2 * o.pad),
                  o.bias ? normal({c}).as(o.w) : absent()},
           .samples = samples});
    };
    std::vector<Case<AdaLNMlp>> list;
    for (Norm norm : {Norm::layer, Norm::rms}) {
      list.push_back(make(4, 5, 33, 50, 4, {.norm = norm}));
      list.push_back(make(2, 7, 31, 65, 2, {.norm = norm, .t = DType::bf16, .pad = 3}));
    }
    list.push_back(make(3, 1, 7, 5, 3, {.t = DType::bf16, .w = DType::bf16, .bias = false}));
    list.push_back(make(2, 3, 7, 530, 2, {}));            // two blocks of hidden units
    list.push_back(make(2, 300, 5, 530, 2, {.norm = Norm::rms, .keep_pre = false}));
    list.push_back(make(2, 7, 31, 65, 2,
                        {.t = DType::bf16, .w = DType::bf16, .bias = false, .pad = 3, .keep_pre = false}));
    list.push_back(make(2, 1, 600, 5, 2, {}));            // two chunks of channels
    list.push_back(make(4, 300, 5, 6, 2, {}));            // pieces end inside frames; leaves of two chunks
    list.push_back(make(2, 780, 3, 5, 1, {.norm = Norm::rms}));  // frames of two chunks, neither at a piece's start
    list.push_back(make(0, 1, 5, 7, 1, {}));
    list.back().gradient = false;
    list.push_back(Case<AdaLNMlp>({}, {.name = "adversarial",
                                       .in = {adversarial({6, 40}), normal({3, 40}), normal({3, 40}), normal({3, 40}),
                                              normal({19, 40}), normal({19}), normal({40, 19}), normal({40})},
                                       .samples = 3}));
    list.push_back(make(15, 128, 768, 3072, 1, {}));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
