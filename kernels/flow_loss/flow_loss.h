#pragma once
// Squared error of a predicted velocity, summed per row. A sum, not a mean: one scale by 1 / global count is applied at
// the end of the step, so that the loss does not depend on how a batch was cut.
//
//   loss[r] = weight[r] sum_i (pred[r,i] - target[r,i])^2        weight absent: 1
//
//   pred, target (R, ...) f32|bf16 each, packed but for axis 0, which may be strided    weight (R) f32, or absent
//   loss (R) f32
// Order: canonical row sum (blocks of 4096 and a binary tree) of d^2 by fma, d = pred - target; then times weight.
// backward: dpred = s d with s = (2 dloss[r]) weight[r], the doubling being exact. No gradient to target and weight.
// Deterministic, independent of R. Throws if target has another shape than pred.
// Source: arXiv:2504.19077, section 4 (rectified flow loss).

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct FlowLoss {
  static constexpr std::string_view name = "flow_loss";

  struct In { View pred, target, weight; static constexpr auto names = fields("pred", "target", "weight"); };
  struct Out { View loss; static constexpr auto names = fields("loss"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View pred; static constexpr auto names = fields("pred"); };

  Shapes infer(const In& in) const {
    CHECK(in.pred.rank() >= 1, "flow_loss: pred must have rows along axis 0, got {}", to_string(in.pred));
    expect_float(in.pred, "flow_loss: pred");
    expect_float(in.target, "flow_loss: target");
    expect_sizes(in.target, in.pred.sizes, "flow_loss: target");
    CHECK(in.pred.packed(1) && in.target.packed(1), "flow_loss: pred and target must be packed but for axis 0");
    if (in.weight) expect_f32(in.weight, {in.pred.size(0)}, "flow_loss: weight");
    return {{DType::f32, {in.pred.size(0)}}};
  }
  size_t scratch_bytes(const In& in, int) const { return RowBlocks(in.pred).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // s, d and their product round once each.
  double gradient_k(const In&) const { return 4; }
  Cost cost(const In& in) const { return traffic(3.0 * double(in.pred.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    Cost c = traffic(2.0 * double(in.pred.count()), in, infer(in));  // reads the inputs and dloss, writes dpred
    return {c.flops, c.bytes_read + c.bytes_written, double(in.pred.bytes())};
  }

  static std::vector<Case<FlowLoss>> cases() {
    auto make = [&](Sizes s, DType p, DType t, bool weighted, int samples, int64_t pad = 0, bool bench = false) {
      return Case<FlowLoss>({}, {.name = format("{},pred={},target={}{}{}", to_string(s), name_of(p), name_of(t),
                                                weighted ? ",weighted" : "", pad ? ",strided" : ""),
                                 .in = {normal(s).as(p).padded(pad), normal(s, 0.3, 1.4).as(t).padded(pad),
                                        weighted ? uniform({s[0]}, 0.1, 2) : absent()},
                                 .samples = samples,
                                 .bench = bench});
    };
    std::vector<Case<FlowLoss>> list;
    for (DType p : {DType::f32, DType::bf16})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({5, 33}, p, t, p == t, 5));
        list.push_back(make({6, 64}, p, t, p != t, 3, 7));
      }
    list.push_back(make({2, 3, 7, 5}, DType::f32, DType::f32, true, 2));
    list.push_back(make({2, 4096}, DType::f32, DType::f32, false, 2));
    list.push_back(make({3, 12289}, DType::f32, DType::f32, true, 3));  // four blocks, the last of one element
    list.push_back(make({2, 20000}, DType::bf16, DType::f32, true, 2, 5));
    list.push_back(make({7, 1}, DType::f32, DType::f32, true, 7));
    list.push_back(make({0, 8}, DType::f32, DType::f32, false, 1));
    list.push_back(make({3, 0}, DType::f32, DType::f32, true, 1));
    list.push_back(Case<FlowLoss>(
        {}, {.name = "adversarial", .in = {adversarial({6, 40}), adversarial({6, 40}), absent()}, .samples = 3}));
    list.push_back(make({64, 16384}, DType::f32, DType::f32, true, 1, 0, true));
    list.push_back(make({256, 262144}, DType::f32, DType::f32, false, 1, 0, true));
    return list;
  }
};

}  // namespace dr
