#pragma once
// A branch added to the residual stream through a gate per frame (or per any run of equally many rows) and column.
//
//   y[r,c] = gate[f,c] * h[r,c] + residual[r,c],   f = r / (R / F)
//
//   residual, h (R,C) f32|bf16 of one type, gate (F,C) f32: rows may be strided    y like residual
// Order: y = fma(gate, h, residual), one rounding. y may be the memory of residual or of h.
// backward: dresidual = dy; dh = gate * dy; dgate[f] = column sum of dy * h (fma chain) over the frame's rows.
// Deterministic, independent of R. Throws if R is no multiple of F.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (the scale alpha of adaLN-Zero).

#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

struct GatedResidual {
  static constexpr std::string_view name = "gated_residual";

  struct In { View residual, h, gate; static constexpr auto names = fields("residual", "h", "gate"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View residual, h, gate; static constexpr auto names = fields("residual", "h", "gate"); };

  Shapes infer(const In& in) const {
    CHECK(in.residual.rank() == 2, "gated_residual: residual must be (R,C), got {}", to_string(in.residual));
    expect_float(in.residual, "gated_residual: residual");
    CHECK(in.h.sizes == in.residual.sizes && in.h.dtype == in.residual.dtype,
          "gated_residual: h must be like residual {}, got {}", to_string(in.residual), to_string(in.h));
    const int64_t rows = in.residual.size(0), frames = in.gate.rank() == 2 ? in.gate.size(0) : 0;
    CHECK(frames > 0 ? rows % frames == 0 : rows == 0,
          "gated_residual: {} rows do not divide into the frames of gate {}", rows, to_string(in.gate));
    expect_f32(in.gate, {frames, in.residual.size(1)}, "gated_residual: gate");
    return {{in.residual.dtype, in.residual.sizes}};
  }
  size_t scratch_bytes(const In& in, int) const { return groups(in).scratch_bytes(1); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  static RowGroups groups(const In& in) { return {in.gate.size(0), in.residual.size(0), in.residual.size(1)}; }

  // A product for dh; for dgate a chain of a chunk's rows and the sum of the chunks.
  double gradient_k(const In& in) const {
    const RowGroups g = groups(in);
    return 4 + double(std::min(g.rows, RowGroups::kChunk) + g.chunks());
  }
  Cost cost(const In& in) const { return traffic(2.0 * double(in.h.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads h, gate and dy
    const double matrix = double(in.h.bytes()), gate = double(in.gate.bytes());
    return {3.0 * double(in.h.count()), 2 * matrix + gate, 2 * matrix + gate};
  }

  static std::vector<Case<GatedResidual>> cases() {
    auto make = [](int64_t frames, int64_t rows_per_frame, int64_t c, int samples, DType t, int64_t pad = 0) {
      return Case<GatedResidual>(
          {},
          {.name = format("F={},S={},C={},{}{}", frames, rows_per_frame, c, name_of(t), pad ? ",strided" : ""),
           .in = {normal({frames * rows_per_frame, c}).as(t).padded(pad),
                  normal({frames * rows_per_frame, c}, 0.2, 2).as(t).padded(2 * pad), normal({frames, c}).padded(pad)},
           .samples = samples});
    };
    std::vector<Case<GatedResidual>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(4, 5, 33, 4, t));
      list.push_back(make(2, 31, 64, 2, t, 3));
      list.push_back(make(8, 1, 7, 8, t));
    }
    list.push_back(make(1, 1, 1, 1, DType::f32));
    list.push_back(make(2, 1025, 5, 2, DType::f32));  // two chunks of 512 rows and one row
    list.push_back(make(0, 1, 5, 1, DType::f32));
    list.push_back(make(2, 0, 5, 1, DType::f32));
    list.back().gradient = false;  // frames without rows: the gate's gradient is zero
    list.push_back(Case<GatedResidual>({}, {.name = "adversarial",
                                            .in = {adversarial({6, 40}), adversarial({6, 40}), adversarial({3, 40})},
                                            .samples = 3}));
    Case<GatedResidual> big = make(256, 128, 768, 1, DType::f32);
    big.bench = true;
    list.push_back(big);
    return list;
  }
};

}  // namespace dr
