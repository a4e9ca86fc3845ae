#include "runtime/tape.h"

#include <utility>

namespace dr {
namespace {

std::vector<View> views_of(const std::vector<Tensor>& tensors) { return {tensors.begin(), tensors.end()}; }

// Sizes with a leading axis of leaves, if there are any.
Sizes with_leaves(const Sizes& sizes, int64_t leaves) {
  if (leaves == 0) return sizes;
  Sizes s{leaves};
  for (int i = 0; i < sizes.rank; i++) s.d[size_t(s.rank++)] = sizes[i];
  return s;
}

}  // namespace

int Tape::find(const Tensor& t) const {
  const auto it = by_storage_.find(t.storage_id());
  if (it == by_storage_.end()) return -1;
  for (int i : it->second)
    if (same_view(values_[size_t(i)].view, t)) return i;
  fail("tape: {} is a view of a tensor that needs a gradient, made without the tape; use Tape::slice and Tape::reshape",
       to_string(t.view()));
}

int Tape::add_value(const Tensor& t, Value::Origin origin) {
  const int i = int(values_.size());
  values_.push_back({t, {}, origin});
  by_storage_[t.storage_id()].push_back(i);
  return i;
}

void Tape::watch(const Tensor& t) {
  CHECK(t.present() && is_floating(t.dtype()), "tape: {} cannot have a gradient", to_string(t.view()));
  if (!options_.gradients) return;
  const int i = find(t);
  if (i < 0) add_value(t, Value::Origin::watched);
  else
    CHECK(values_[size_t(i)].origin == Value::Origin::watched, "tape: {} was made on this tape and cannot be watched",
          to_string(t.view()));
}

Context Tape::context(uint32_t id) const {
  Context c = runtime_.context();
  c.leaves = options_.leaves;
  c.first_sample = options_.first_sample;
  c.op_id = id;
  return c;
}

std::vector<Tensor> Tape::run(std::shared_ptr<const AnyOp> op, std::vector<Tensor> in, bool again) {
  const std::vector<View> in_views = views_of(in);
  std::vector<Tensor> out;
  for (const TensorSpec& s : op->infer(in_views))
    out.push_back(s.sizes.rank ? runtime_.empty(s.dtype, s.sizes) : Tensor());
  const uint32_t id = next_id_++;
  runtime_.forward(*op, context(id), in_views, views_of(out), replaying_ ? Phase::recompute : Phase::forward);

  OpCall call{op, {}, {}, id, again && !dropping_};
  bool needed = false;
  for (size_t i = 0; i < in.size(); i++) {
    Operand& x = call.in.emplace_back(in[i].view(), in[i] ? find(in[i]) : -1, in[i]);
    if (x.value < 0) continue;
    if (values_[size_t(x.value)].again >= 0) x.kept = Tensor();
    const std::string_view field = op->in_names()[i];
    if (dr::find(op->grad_names(), field) < 0) continue;
    needed = true;
    CHECK(!op->in_shared(field) || values_[size_t(x.value)].origin != Value::Origin::computed,
          "tape: {} shares {} between samples, but it is the result of an op and its leaves cannot be told apart there",
          op->name(), field);
  }
  if (!needed) return out;
  for (size_t i = 0; i < out.size(); i++) {
    Operand& y = call.out.emplace_back(out[i].view());
    y.view.data = nullptr;
    if (!out[i]) continue;
    const std::string_view field = op->out_names()[i];
    if (dr::find(op->out_grad_names(), field) >= 0) {
      y.value = add_value(out[i], Value::Origin::computed);
      if (call.again) values_[size_t(y.value)].again = int(nodes_.size());
    }
    if (!call.again && op->out_saved(field)) y.kept = out[i], y.view = out[i];
  }
  record(std::move(call));
  return out;
}

std::vector<Tensor> Tape::inputs(const OpCall& call) {
  std::vector<Tensor> in;
  for (const Operand& x : call.in) {
    in.push_back(x.kept);
    if (x.kept || x.value < 0) continue;
    OpCall& maker = std::get<OpCall>(nodes_[size_t(values_[size_t(x.value)].again)]);
    run_again(maker);
    for (const Operand& y : maker.out)
      if (y.value == x.value) in.back() = y.kept;
  }
  return in;
}

void Tape::run_again(OpCall& call) {
  if (!std::exchange(call.again, false)) return;
  const std::vector<Tensor> in = inputs(call);
  const std::vector<View> in_views = views_of(in);
  std::vector<View> out;
  for (Operand& y : call.out) {
    if (y.view) y.kept = runtime_.empty(y.view.dtype, y.view.sizes);
    out.push_back(y.view = y.kept);
  }
  runtime_.forward(*call.op, context(call.id), in_views, out, Phase::recompute);
}

Tensor Tape::add_view(const Tensor& x, Tensor y, int axis, int64_t begin, int64_t n) {
  const int parent = find(x);
  if (parent < 0 || same_view(x, y)) return y;
  int child = -1;
  for (int i : by_storage_[y.storage_id()])
    if (same_view(values_[size_t(i)].view, y)) child = i;
  if (child >= 0 && values_[size_t(child)].origin == Value::Origin::watched)
    return y;  // back at the watched tensor itself
  // A view that was made before gets a node again: each node hands on what was added since the next one.
  if (child < 0) {
    const bool computed = values_[size_t(parent)].origin == Value::Origin::computed;
    child = add_value(y, computed ? Value::Origin::computed : Value::Origin::view);
  }
  record(ViewOf{parent, child, axis, begin, n});
  return y;
}

Tensor Tape::slice(const Tensor& x, int axis, int64_t begin, int64_t n) {
  return add_view(x, x.slice(axis, begin, n), axis < 0 ? axis + x.rank() : axis, begin, n);
}

Tensor Tape::reshape(const Tensor& x, const Sizes& sizes) { return add_view(x, x.reshape(sizes), -1, 0, 0); }

std::vector<Tensor> Tape::run_block(BlockFunction block) {
  const uint32_t first_id = next_id_;
  const bool outer = std::exchange(dropping_, true);
  std::vector<Tensor> out;
  try {
    out = block(*this);
  } catch (...) {
    dropping_ = outer;
    throw;
  }
  dropping_ = outer;
  std::vector<int> outputs;
  bool needed = false;
  for (const Tensor& t : out) {
    outputs.push_back(find(t));
    needed |= outputs.back() >= 0;
  }
  if (needed) record(Block{std::move(block), std::move(outputs), first_id, next_id_ - first_id});
  return out;
}

void Tape::seed(const Tensor& y, const Tensor& gradient) {
  const int i = find(y);
  CHECK(i >= 0, "tape: {} depends on no watched tensor", to_string(y.view()));
  CHECK(gradient.sizes() == y.sizes() && gradient.dtype() == y.dtype(), "tape: the gradient of {} cannot be {}",
        to_string(y.view()), to_string(gradient.view()));
  runtime_.accumulate(values_[size_t(i)].gradient, gradient);
}

void Tape::backward() {
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    std::visit([this](auto& n) { backward(n); }, node);
  }
}

// Hands over the gradient of a node's output: what comes before it on the tape does not add to it.
Tensor Tape::take_gradient(int value) { return std::exchange(values_[size_t(value)].gradient, Tensor()); }

void Tape::backward(OpCall& call) {
  const AnyOp& op = *call.op;
  std::vector<Tensor> out_grad;
  bool reached = false;
  for (std::string_view field : op.out_grad_names()) {
    const Operand& y = call.out[size_t(dr::find(op.out_names(), field))];
    out_grad.push_back(y.value >= 0 ? take_gradient(y.value) : Tensor());
    reached |= out_grad.back().present();
  }
  if (!reached) return;
  for (size_t i = 0; i < out_grad.size(); i++) {
    const View& y = call.out[size_t(dr::find(op.out_names(), op.out_grad_names()[i]))].view;
    if (y && !out_grad[i]) out_grad[i] = runtime_.zeros(y.dtype, y.sizes);
  }
  run_again(call);
  const std::vector<Tensor> inputs = this->inputs(call);
  const std::vector<View> in = views_of(inputs);
  std::vector<View> out;
  for (const Operand& y : call.out) out.push_back(y.view);
  const Shapes shapes = op.infer_grad(in, options_.leaves);
  std::vector<Tensor> grad;
  std::vector<int> wanted;
  for (size_t i = 0; i < shapes.size(); i++) {
    wanted.push_back(call.in[size_t(dr::find(op.in_names(), op.grad_names()[i]))].value);
    grad.push_back(wanted[i] >= 0 ? runtime_.empty(shapes[i].dtype, shapes[i].sizes) : Tensor());
  }
  runtime_.backward(op, context(call.id), in, out, views_of(out_grad), views_of(grad));
  out_grad.clear();
  for (size_t i = 0; i < grad.size(); i++) {
    if (wanted[i] < 0) continue;
    Tensor& sum = values_[size_t(wanted[i])].gradient;
    CHECK(!sum || sum.sizes() == grad[i].sizes(),
          "tape: {} of {} is shared between samples by some ops and not by others", op.grad_names()[i], op.name());
    runtime_.accumulate(sum, std::exchange(grad[i], Tensor()));
  }
}

void Tape::backward(const ViewOf& view) {
  Tensor g = take_gradient(view.child);
  if (!g) return;
  Value& parent = values_[size_t(view.parent)];
  const int leaf_axes = g.rank() - values_[size_t(view.child)].view.rank();
  const Sizes sizes = with_leaves(parent.view.sizes, leaf_axes ? g.size(0) : 0);
  CHECK(!parent.gradient || parent.gradient.sizes() == sizes,
        "tape: {} is shared between samples by some ops and not by others", to_string(parent.view));
  if (view.axis < 0) {
    runtime_.accumulate(parent.gradient, (g.packed() ? std::exchange(g, Tensor()) : g.clone()).reshape(sizes));
    return;
  }
  if (!parent.gradient) parent.gradient = runtime_.zeros(g.dtype(), sizes);
  else if (!parent.gradient.sole_owner()) parent.gradient = parent.gradient.clone();
  runtime_.add_to(parent.gradient.view().slice(view.axis + leaf_axes, view.begin, view.n), g);
}

void Tape::backward(const Block& block) {
  bool reached = false;
  for (int i : block.outputs) reached |= i >= 0 && values_[size_t(i)].gradient.present();
  if (!reached) return;
  // The second run records its ops behind those still to be done, with the same numbers; their gradients follow.
  const uint32_t ids = std::exchange(next_id_, block.first_id);
  const bool outer = std::exchange(replaying_, true);
  const std::vector<Tensor> out = block.run(*this);
  replaying_ = outer;
  CHECK(next_id_ - block.first_id == block.ids, "tape: a checkpointed block applied {} ops first and {} when run again",
        block.ids, next_id_ - block.first_id);
  next_id_ = ids;
  for (size_t i = 0; i < out.size(); i++) {
    const int before = block.outputs[i], now = find(out[i]);
    if (before < 0) continue;
    if (Tensor g = take_gradient(before)) values_[size_t(now)].gradient = std::move(g);
  }
}

Tensor Tape::gradient(const Tensor& t) const {
  const int i = find(t);
  CHECK(i >= 0 && values_[size_t(i)].origin == Value::Origin::watched, "tape: {} is not watched", to_string(t.view()));
  CHECK(nodes_.empty(), "tape: gradients are asked for before backward");
  return values_[size_t(i)].gradient;
}

}  // namespace dr
