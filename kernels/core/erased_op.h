#pragma once
// The body of erase (any_op.h).

#include "kernels/core/any_op.h"
#include "kernels/device_ops.h"

namespace dr {

template <class S>
S from_views(Views list) {
  S s;
  CHECK(list.size() == S::names.size(), "{} tensors expected, {} given", S::names.size(), list.size());
  size_t i = 0;
  for (View* v : views(s)) *v = list[i++];
  return s;
}

template <Op O>
class ErasedOp final : public AnyOp {
 public:
  explicit ErasedOp(O op) : op_(op) {}
  std::string_view name() const override { return O::name; }
  bool differentiable() const override { return DifferentiableOp<O>; }
  Names in_names() const override { return O::In::names; }
  Names out_names() const override { return O::Out::names; }
  Names out_grad_names() const override {
    if constexpr (DifferentiableOp<O>) return O::OutGrad::names;
    else return {};
  }
  Names grad_names() const override {
    if constexpr (DifferentiableOp<O>) return O::Grad::names;
    else return {};
  }
  bool in_shared(std::string_view f) const override { return is_shared<typename O::In>(f); }
  bool out_shared(std::string_view f) const override { return is_shared<typename O::Out>(f); }
  bool out_saved(std::string_view f) const override { return is_saved<O>(f); }

  Shapes infer(Views in) const override { return op_.infer(from_views<typename O::In>(in)); }
  size_t scratch_bytes(Views in, Backend backend, int threads) const override {
    const auto views = from_views<typename O::In>(in);
    if (is_cpu(backend)) return op_.scratch_bytes(views, threads);
    if constexpr (requires { op_.device_scratch_bytes(views); }) return op_.device_scratch_bytes(views);
    else return op_.scratch_bytes(views, 1);
  }
  bool runs_on(Backend backend) const override { return is_cpu(backend) || has_device_kernels<O>; }
  void forward(Context& ctx, Views in, Views out) const override {
    run_forward(ctx, op_, from_views<typename O::In>(in), from_views<typename O::Out>(out));
  }
  void backward(Context& ctx, Views in, Views out, Views dy, Views grad) const override {
    if constexpr (DifferentiableOp<O>)
      run_backward(ctx, op_, from_views<typename O::In>(in), from_views<typename O::Out>(out),
                   from_views<typename O::OutGrad>(dy), from_views<typename O::Grad>(grad));
    else fail("{} has no gradient", O::name);
  }
  void reference(Views in, Views out, Views bound) const override {
    op_.reference(from_views<typename O::In>(in), from_views<typename O::Out>(out), from_views<typename O::Out>(bound));
  }
  double gradient_k(Views in) const override {
    if constexpr (DifferentiableOp<O>) return op_.gradient_k(from_views<typename O::In>(in));
    else return 0;
  }
  double fast_factor(Views in) const override {
    const auto views = from_views<typename O::In>(in);
    if constexpr (requires { op_.fast_factor(views); }) return op_.fast_factor(views);
    else return 0;
  }
  Cost cost(Views in) const override { return op_.cost(from_views<typename O::In>(in)); }
  Cost backward_cost(Views in) const override {
    if constexpr (DifferentiableOp<O>) return op_.backward_cost(from_views<typename O::In>(in));
    else return {};
  }

 private:
  O op_;
};

template <Op O>
std::shared_ptr<const AnyOp> erase(O op) {
  return std::make_shared<ErasedOp<O>>(op);
}

}  // namespace dr
