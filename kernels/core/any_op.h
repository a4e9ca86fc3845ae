#pragma once
// AnyOp: an op struct behind one virtual interface, Views in the order of its names. The tape, the test harness, audit and
// bench are written once against it.
//
// The templates below are instantiated for every op of AllOps in kernels/dispatch.cpp and kernels/erased_ops.cpp, once
// instead of in each file that calls them; dispatch.cpp alone depends on the instruction sets that a program has. An op
// that is not in AllOps (a test's own) includes kernels/core/dispatch.h and kernels/core/erased_op.h.

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
  virtual bool out_saved(std::string_view field) const = 0;  // backward reads it

  virtual Shapes infer(Views in) const = 0;
  virtual size_t scratch_bytes(Views in, Backend backend, int threads) const = 0;
  virtual bool runs_on(Backend backend) const = 0;  // whether it has kernels for it, built in or not
  virtual void forward(Context& ctx, Views in, Views out) const = 0;
  virtual void backward(Context& ctx, Views in, Views out, Views out_grad, Views grad) const = 0;
  virtual void reference(Views in, Views out, Views bound) const = 0;
  virtual double gradient_k(Views in) const = 0;
  virtual double fast_factor(Views in) const = 0;  // 0: the fast tier runs the canonical kernels
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

// Calls op.forward or op.backward of the context's backend. Throws where it is not built into this program.
template <Op O>
void run_forward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out);
template <DifferentiableOp O>
void run_backward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out,
                  const typename O::OutGrad& dy, const typename O::Grad& grad);

template <Op O>
std::shared_ptr<const AnyOp> erase(O op);

}  // namespace dr
