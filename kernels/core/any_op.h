#pragma once
// AnyOp: an op struct behind one virtual interface, Views in the order of its names. The tape, the test harness, audit and
// bench are written once against it.

#include <memory>

#include "kernels/core/op.h"

namespace dr {

using Names = std::span<const std::string_view>;
using Views = std::span<const View>;

class AnyOp {
 public:
  virtual ~AnyOp() = default;

  virtual std::string_view name() const = 0;
  virtual bool differentiable() const = 0;
  virtual Names in_names() const = 0;
  virtual Names out_names() const = 0;
  virtual Names out_grad_names() const = 0;  // empty where not differentiable
  virtual Names grad_names() const = 0;
  virtual bool in_shared(std::string_view field) const = 0;
  virtual bool out_shared(std::string_view field) const = 0;

  virtual Shapes infer(Views in) const = 0;
  virtual size_t scratch_bytes(Views in, int threads) const = 0;
  virtual void forward(Context& ctx, Views in, Views out) const = 0;
  virtual void backward(Context& ctx, Views in, Views out, Views out_grad, Views grad) const = 0;
  virtual void reference(Views in, Views out, Views bound) const = 0;
  virtual double gradient_k(Views in) const = 0;
  virtual Cost cost(Views in) const = 0;
  virtual Cost backward_cost(Views in) const = 0;

  // The dtype and sizes of every Grad field for this call; absent where the input is, or holds integers.
  Shapes infer_grad(Views in, int leaves) const;
};

// Position of a field among names, or -1.
inline int find(Names names, std::string_view field) {
  for (size_t i = 0; i < names.size(); i++)
    if (names[i] == field) return int(i);
  return -1;
}

inline Shapes AnyOp::infer_grad(Views in, int leaves) const {
  Shapes shapes;
  for (std::string_view field : grad_names()) {
    const View& v = in[size_t(find(in_names(), field))];
    TensorSpec spec{v.dtype, is_floating(v.dtype) ? v.sizes : Sizes{}};
    if (v.present() && in_shared(field)) {
      CHECK(v.rank() < kMaxRank, "{}: shared input {} has no axis left for leaves", name(), field);
      spec = {DType::f32, Sizes{leaves}};
      for (int i = 0; i < v.rank(); i++) spec.sizes.d[spec.sizes.rank++] = v.size(i);
    }
    shapes.push_back(spec);
  }
  return shapes;
}

template <class S>
S from_views(Views list) {
  S s;
  CHECK(list.size() == S::names.size(), "{} tensors expected, {} given", S::names.size(), list.size());
  size_t i = 0;
  for (View* v : views(s)) *v = list[i++];
  return s;
}

// Calls op.forward or op.backward of the context's backend.
template <class F>
decltype(auto) on_backend(Backend b, F&& f) {
  switch (b) {
#ifdef DR_WITH_portable
    case Backend::portable: return f.template operator()<Backend::portable>();
#endif
#ifdef DR_WITH_avx2
    case Backend::avx2: return f.template operator()<Backend::avx2>();
#endif
#ifdef DR_WITH_avx512
    case Backend::avx512: return f.template operator()<Backend::avx512>();
#endif
    default: fail("backend {} is not built into this program", name_of(b));
  }
}

template <Op O>
void run_forward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out) {
  on_backend(ctx.backend, [&]<Backend B>() { op.template forward<B>(ctx, in, out); });
}
template <DifferentiableOp O>
void run_backward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out,
                  const typename O::OutGrad& dy, const typename O::Grad& grad) {
  on_backend(ctx.backend, [&]<Backend B>() { op.template backward<B>(ctx, in, out, dy, grad); });
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

  Shapes infer(Views in) const override { return op_.infer(from_views<typename O::In>(in)); }
  size_t scratch_bytes(Views in, int threads) const override { return op_.scratch_bytes(from_views<typename O::In>(in), threads); }
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
