#pragma once
// Runtime: what a program computes with. It owns the device, its arena and thread pool, and, if asked for, a profiler
// and a ledger; nothing is global, so two runtimes can live side by side. Every op call of the program goes through it.

#include <optional>

#include "kernels/core/any_op.h"
#include "runtime/ledger.h"
#include "runtime/profiler.h"
#include "runtime/tensor.h"

namespace dr {

struct RuntimeOptions {
  DeviceKind device = DeviceKind::cpu;
  std::string cpu_isa{};  // empty: the best that runs here
  MathTier math = MathTier::canonical;
  int threads = 0;      // CPU threads; 0: one per core this process may use
};

enum class Phase : uint8_t { forward, recompute, backward };

class Runtime {
 public:
  explicit Runtime(const RuntimeOptions& options = {});

  Device& device() { return arena_->device(); }
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  void swap_arena(std::shared_ptr<Arena>& other) { arena_.swap(other); }  // of one device
  // Backend, math tier, pool and stream; the caller sets leaves, first_sample and op_id.
  Context context() const { return context_; }

  Tensor empty(DType dtype, const Sizes& sizes) const { return Tensor::empty(arena_, dtype, sizes); }
  Tensor zeros(DType dtype, const Sizes& sizes) const { return Tensor::zeros(arena_, dtype, sizes); }
  Tensor ones(DType dtype, const Sizes& sizes) const;  // f32 or bf16
  template <class T>
  Tensor from(const std::vector<T>& values, const Sizes& sizes) const {
    return Tensor::from(arena_, values, sizes);
  }

  // One call: scratch, profiler and ledger (which skips recomputed calls, so that it does not depend on checkpoints).
  void forward(const AnyOp& op, Context ctx, Views in, Views out, Phase phase = Phase::forward);
  void backward(const AnyOp& op, Context ctx, Views in, Views out, Views out_grad, Views grad);

  // sum = sum + term by the op `add`. accumulate works in place where `sum` is the only owner of its storage, else in
  // new storage; an absent sum becomes `term` itself. add_to works in place.
  void accumulate(Tensor& sum, const Tensor& term);
  void add_to(const View& sum, const View& term);

  TensorHash hash(const View& v) { return hash_of(context_, device(), v); }

  std::optional<Profiler> profiler;
  std::unique_ptr<LedgerWriter> ledger;  // records between its begin_step and end_step

 private:
  void add(const View& a, const View& b, const View& z);
  template <class F>
  void call(const AnyOp& op, Context& ctx, Phase phase, std::initializer_list<Views> views, const Cost& cost, F&& f);

  std::shared_ptr<Arena> arena_;
  std::optional<Storage> workspace_;  // of the fast tier
  std::unique_ptr<ThreadPool> pool_;
  Context context_;
};

}  // namespace dr
