#include "runtime/runtime.h"

#include "kernels/add/add.h"

namespace dr {
namespace {

void append(LedgerCall& call, Runtime& runtime, Names names, Views views, Role role) {
  for (size_t i = 0; i < names.size(); i++)
    if (views[i].present())
      call.tensors.push_back({std::string(names[i]), role, views[i].dtype, views[i].sizes, runtime.hash(views[i])});
}

std::string shapes(Names names, Views views) {
  std::string s;
  for (size_t i = 0; i < names.size(); i++)
    if (views[i].present()) s += (s.empty() ? "" : " ") + std::string(names[i]) + " " + to_string(views[i]);
  return s;
}

// A number for the memory and the shapes of a call, another one with near certainty where any of them is another.
uint64_t number_of(Phase phase, std::initializer_list<Views> lists) {
  Digest digest;
  digest.add_value(phase);
  for (const Views& list : lists)
    for (const View& v : list) {
      digest.add_value(v.data);
      digest.add_value(v.dtype);
      for (int i = 0; i < v.rank(); i++) digest.add_value(v.size(i)), digest.add_value(v.stride(i));
    }
  return digest.low() ^ digest.high();
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options) {
  expect_math(options.math, options.device);
  const std::shared_ptr<Device> device = open_device(options.device, options.cpu_isa);
  arena_ = std::make_shared<Arena>(device);
  pool_ = std::make_unique<ThreadPool>(options.threads);
  context_.backend = device->backend();
  context_.math = options.math;
  context_.pool = pool_.get();
  context_.stream = device->stream();
  context_.fault = device->fault();
  if (options.math == MathTier::fast) {
    constexpr size_t kWorkspace = size_t{128} << 20;
    const Arena::LabelScope label(*arena_, "workspace of the fast tier");
    workspace_.emplace(arena_, kWorkspace);
    context_.workspace = {static_cast<std::byte*>(workspace_->data()), kWorkspace};
  }
}

Tensor Runtime::ones(DType dtype, const Sizes& sizes) const {
  const size_t n = size_t(sizes.count());
  if (dtype == DType::bf16) return from(std::vector<bf16>(n, to_bf16(1.f)), sizes);
  CHECK(dtype == DType::f32, "ones: f32 or bf16 is needed, not {}", name_of(dtype));
  return from(std::vector<float>(n, 1.f), sizes);
}

template <class F>
void Runtime::call(const AnyOp& op, Context& ctx, Phase phase, std::initializer_list<Views> views, const Cost& cost, F&& f) {
  const Views in = *views.begin();
  std::optional<Storage> scratch;
  if (const size_t bytes = op.scratch_bytes(in, ctx.backend, ctx.threads())) {
    scratch.emplace(arena_, bytes);
    ctx.scratch = {static_cast<std::byte*>(scratch->data()), bytes};
  }
  device().expect_call(op.name(), number_of(phase, views));
  if (device().feeding()) return;  // a recording does it
  if (!profiler) return f(ctx);
  constexpr std::string_view suffix[] = {"", " (again)", " backward"};
  device().synchronize();
  profiler->begin(std::string(op.name()) + std::string(suffix[int(phase)]), shapes(op.in_names(), in));
  f(ctx);
  device().synchronize();
  profiler->end(cost);
}

void Runtime::forward(const AnyOp& op, Context ctx, Views in, Views out, Phase phase) {
  const bool recorded = ledger && ledger->in_step() && phase == Phase::forward;
  LedgerCall record{std::string(op.name()), false, {}};
  if (recorded)
    append(record, *this, op.in_names(), in, Role::input);  // before the call: an output may lie over an input
  call(op, ctx, phase, {in, out}, profiler ? op.cost(in) : Cost{}, [&](Context& c) { op.forward(c, in, out); });
  if (!recorded) return;
  append(record, *this, op.out_names(), out, Role::output);
  ledger->add(record);
}

void Runtime::backward(const AnyOp& op, Context ctx, Views in, Views out, Views out_grad, Views grad) {
  call(op, ctx, Phase::backward, {in, out, out_grad, grad}, profiler ? op.backward_cost(in) : Cost{},
       [&](Context& c) { op.backward(c, in, out, out_grad, grad); });
  if (!ledger || !ledger->in_step()) return;
  LedgerCall record{std::string(op.name()), true, {}};
  append(record, *this, op.out_grad_names(), out_grad, Role::output_gradient);
  append(record, *this, op.grad_names(), grad, Role::gradient);
  ledger->add(record);
}

void Runtime::add(const View& a, const View& b, const View& z) {
  static const std::shared_ptr<const AnyOp> op = erase(Add{});
  const View in[] = {a, b}, out[] = {z};
  (void)op->infer(in);  // shapes and dtypes must agree
  forward(*op, context_, in, out);
}

void Runtime::add_to(const View& sum, const View& term) { add(sum, term, sum); }

void Runtime::accumulate(Tensor& sum, const Tensor& term) {
  if (!sum) {
    sum = term;
  } else if (sum.sole_owner()) {
    add_to(sum, term);
  } else {
    Tensor z = empty(sum.dtype(), sum.sizes());
    add(sum, term, z);
    sum = std::move(z);
  }
}

}  // namespace dr
