#pragma once
// Tape: the ops of one step in order, and their gradients. Explicit: only what goes through a tape is recorded.
//
//   Tape tape(runtime);
//   tape.watch(w);
//   Tensor y = tape.apply(AdaLN{.eps = 1e-5f}, x, shift, scale);
//   tape.backward(y, dy);
//   Tensor dw = tape.gradient(w);
//
// Needs a gradient: a watched tensor, and each differentiable output of a differentiable op that reads one that does.
// An op without a backward passes none on.
//
// Gradients are added in reverse tape order, within an op in the order of its Grad fields, by the op `add`: the first
// is taken as it is, each further one is added behind it. Where a tensor is read through slices, its gradient starts as
// zeros and each slice's gradient is added to its part; elements that no slice covers stay zero.
//
// The gradient of a tensor that an op shares between samples (a parameter) has a leading axis, one row per leaf. Such a
// tensor must be watched, or be a slice or reshape of a watched one. GradientAccumulator adds the leaves.
//
// A view of a tensor that needs a gradient must be made by the tape's slice and reshape; another view of its memory is
// refused.
//
// Calls are numbered from 0 as they are applied (Context::op_id); a block that is recomputed takes the same numbers
// again. backward() consumes the tape: saved tensors and inner gradients are let go as soon as they are used. Of an
// op's outputs it keeps those that the op's backward reads (kernels/core/op.h).

#include <functional>
#include <unordered_map>
#include <variant>

#include "runtime/runtime.h"

namespace dr {

struct TapeOptions {
  bool gradients = true;      // false: nothing is recorded
  int leaves = 1;             // whole leaves in this micro-batch
  uint64_t first_sample = 0;  // global index of its first sample within the step
};

class Tape {
 public:
  explicit Tape(Runtime& runtime, TapeOptions options = {}) : runtime_(runtime), options_(options) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  void watch(const Tensor& t);  // t gets a gradient; it must not be the result of an op or a view made on this tape

  // The first output, or all of them in the order of Out. One tensor per field of In; Tensor() where one is absent.
  template <Op O, class... T>
  Tensor apply(const O& op, const T&... in) {
    static_assert(sizeof...(T) == O::In::names.size(), "one tensor per field of In");
    return run(erase(op), {in...})[0];
  }
  template <Op O, class... T>
  std::array<Tensor, O::Out::names.size()> apply_all(const O& op, const T&... in) {
    static_assert(sizeof...(T) == O::In::names.size(), "one tensor per field of In");
    std::vector<Tensor> out = run(erase(op), {in...});
    std::array<Tensor, O::Out::names.size()> all;
    std::move(out.begin(), out.end(), all.begin());
    return all;
  }
  // As apply, but what the op makes is not kept for backward, which runs it again, once, when it first reads of it:
  // for an op that costs little for the memory it fills. What is read through a view is kept.
  template <Op O, class... T>
  Tensor apply_again(const O& op, const T&... in) {
    static_assert(sizeof...(T) == O::In::names.size(), "one tensor per field of In");
    return run(erase(op), {in...}, true)[0];
  }
  std::vector<Tensor> run(std::shared_ptr<const AnyOp> op, std::vector<Tensor> in, bool again = false);

  Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t n);
  Tensor reshape(const Tensor& x, const Sizes& sizes);

  // Runs the block and keeps only its outputs; backward runs it again. block(Tape&) returns a Tensor or a vector of
  // them. It must be a pure function of tensors captured by value, or that outlive backward, and apply the same ops
  // each time.
  template <class F>
  auto checkpoint(F block) {
    if constexpr (std::is_same_v<std::invoke_result_t<F&, Tape&>, Tensor>)
      return run_block([block](Tape& t) mutable { return std::vector<Tensor>{block(t)}; })[0];
    else
      return run_block(std::move(block));
  }

  // seed() may be called for several tensors before backward(); seeds of one tensor add up.
  void seed(const Tensor& y, const Tensor& gradient);
  void backward();
  void backward(const Tensor& y, const Tensor& gradient) { seed(y, gradient), backward(); }

  // After backward: like t, or (leaves, shape of t) where ops share t between samples. Absent where no path led to t.
  Tensor gradient(const Tensor& t) const;
  bool needs_gradient(const Tensor& t) const { return find(t) >= 0; }
  uint32_t calls() const { return next_id_; }
  const TapeOptions& options() const { return options_; }

 private:
  using BlockFunction = std::function<std::vector<Tensor>(Tape&)>;
  // Something that needs a gradient: which memory, seen how.
  struct Value {
    View view;
    Tensor gradient;
    enum class Origin : uint8_t { watched, view, computed } origin;  // view: of a watched one
    int again = -1;                                                  // the node that makes it again
  };
  struct Operand {  // of a call: its shape, which Value it is, and its memory where the call keeps it
    View view;
    int value = -1;  // -1: needs no gradient
    Tensor kept;
  };
  struct OpCall {
    std::shared_ptr<const AnyOp> op;
    std::vector<Operand> in, out;
    uint32_t id;
    bool again;  // it must run again: `out` is not there
  };
  struct ViewOf {  // child is a slice or, with axis -1, a reshape of parent
    int parent, child, axis;
    int64_t begin, n;
  };
  struct Block {
    BlockFunction run;
    std::vector<int> outputs;
    uint32_t first_id, ids;
  };
  using Node = std::variant<OpCall, ViewOf, Block>;

  int find(const Tensor& t) const;  // its Value, or -1
  int add_value(const Tensor& t, Value::Origin origin);
  template <class N>
  void record(N node) {
    if (!dropping_) nodes_.emplace_back(std::move(node));
  }
  Tensor add_view(const Tensor& x, Tensor y, int axis, int64_t begin, int64_t n);
  std::vector<Tensor> run_block(BlockFunction block);
  Context context(uint32_t id) const;
  Tensor take_gradient(int value);
  std::vector<Tensor> inputs(const OpCall& call);
  void run_again(OpCall& call);
  void backward(OpCall& call);
  void backward(const ViewOf& view);
  void backward(const Block& block);

  Runtime& runtime_;
  TapeOptions options_;
  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::unordered_map<uint64_t, std::vector<int>> by_storage_;
  uint32_t next_id_ = 0;
  bool dropping_ = false;   // inside the first run of a block
  bool replaying_ = false;  // inside its second
};

// An op by itself, which nothing records: its first output, or all of them in the order of Out.
template <Op O, class... T>
Tensor evaluate(Runtime& runtime, const O& op, const T&... in) {
  return Tape(runtime, {.gradients = false}).apply(op, in...);
}
template <Op O, class... T>
auto evaluate_all(Runtime& runtime, const O& op, const T&... in) {
  return Tape(runtime, {.gradients = false}).apply_all(op, in...);
}

}  // namespace dr
