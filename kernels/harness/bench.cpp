#include "kernels/harness/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "kernels/matmul/matmul.h"

namespace dr::harness {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// Page-aligned memory that is written once before use, so that no timing sees a page fault.
class Memory {
 public:
  explicit Memory(size_t bytes)
      : data_(static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4096) / 4096 * 4096)), &std::free) {
    CHECK(data_ != nullptr, "bench: {} bytes could not be allocated", bytes);
    std::memset(data_.get(), 0, bytes);
  }
  std::byte* get() const { return data_.get(); }

 private:
  std::unique_ptr<std::byte, void (*)(void*)> data_;
};

struct Set {  // everything one call touches
  std::vector<Memory> memory;
  std::vector<View> in, out, out_grad, grad;

  View add(const TensorSpec& spec) {
    if (spec.sizes.rank == 0) return {};
    memory.emplace_back(size_t(spec.sizes.count()) * size_of(spec.dtype) + 64);
    return View(memory.back().get(), spec.dtype, spec.sizes);
  }
};

constexpr double kCacheBytes = 32e6;  // beyond the private caches of two cores; larger calls rotate their inputs

}  // namespace

std::vector<double> time_calls(double seconds, const std::function<void()>& call) {
  std::vector<double> us;
  const auto start = Clock::now();
  while (us.size() < 5 || seconds_since(start) < seconds) {
    const auto t = Clock::now();
    call();
    us.push_back(seconds_since(t) * 1e6);
  }
  return us;
}

Timing summarise(std::vector<double>& us, const Cost& cost) {
  std::sort(us.begin(), us.end());
  auto at = [&](double q) { return us[size_t(q * double(us.size() - 1) + 0.5)]; };
  Timing t;
  t.median_us = at(0.5), t.p10_us = at(0.1), t.p90_us = at(0.9);
  t.tflops = cost.flops / t.median_us * 1e-6;
  t.gbps = (cost.bytes_read + cost.bytes_written) / t.median_us * 1e-3;
  t.repetitions = int(us.size());
  return t;
}

Timing time_case(const TestCase& c, Pass pass, Backend backend, ThreadPool& pool, double seconds, uint64_t seed) {
  const AnyOp& op = *c.op;
  std::vector<Set> sets;
  double bytes = 0;
  do {
    Set s;
    for (size_t i = 0; i < c.spec.in.size(); i++) {
      const Input& input = c.spec.in[i];
      s.in.push_back(s.add({input.dtype, input.sizes}));
      fill(s.in.back(), input, c.id() + std::to_string(sets.size()), op.in_names()[i], seed);
    }
    const Shapes shapes = op.infer(s.in);
    for (const TensorSpec& spec : shapes) s.out.push_back(s.add(spec));
    if (pass == Pass::backward) {
      for (std::string_view name : op.out_grad_names()) {
        const TensorSpec& spec = shapes[size_t(find(op.out_names(), name))];
        s.out_grad.push_back(s.add(spec));
        fill(s.out_grad.back(), normal(spec.sizes), c.id(), name, seed);
      }
      for (const TensorSpec& spec : op.infer_grad(s.in, c.spec.leaves)) s.grad.push_back(s.add(spec));
    }
    sets.push_back(std::move(s));
    const Cost cost = op.cost(sets[0].in);
    bytes = cost.bytes_read + cost.bytes_written;
  } while (sets.size() < 2 && bytes > kCacheBytes);

  const size_t scratch_bytes = op.scratch_bytes(sets[0].in, backend, pool.size());
  Memory scratch(scratch_bytes + 64);
  Context ctx;
  ctx.backend = backend;
  ctx.pool = &pool;
  ctx.scratch = {scratch.get(), scratch_bytes};
  ctx.leaves = c.spec.leaves;

  auto call = [&](Set& s) {
    if (pass == Pass::forward)
      op.forward(ctx, s.in, s.out);
    else
      op.backward(ctx, s.in, s.out, s.out_grad, s.grad);
  };
  if (pass == Pass::backward)
    for (Set& s : sets) op.forward(ctx, s.in, s.out);
  for (Set& s : sets) call(s);
  size_t turn = 0;
  std::vector<double> us = time_calls(seconds, [&] { call(sets[turn++ % sets.size()]); });
  Timing t = summarise(us, pass == Pass::forward ? op.cost(sets[0].in) : op.backward_cost(sets[0].in));
  t.sets = int(sets.size());
  t.memory_bytes = double(scratch_bytes);
  for (const auto* list : {&sets[0].out, &sets[0].grad})
    for (const View& v : *list) t.memory_bytes += double(v.bytes());
  return t;
}

Peaks measure_peaks(Backend backend, ThreadPool& pool) {
  Peaks peaks;
  {
    const size_t bytes = size_t{256} << 20;
    Memory from(bytes), to(bytes);
    for (size_t i = 0; i < bytes; i += 8) from.get()[i] = std::byte(i * 2654435761u >> 24);
    std::vector<double> us;
    for (int i = 0; i < 7; i++) {
      const auto t = Clock::now();
      const int64_t pages = int64_t(bytes >> 12);
      pool.run(pages, (pages + pool.size() - 1) / pool.size(), [&](int64_t b, int64_t e) {
        std::memcpy(to.get() + (b << 12), from.get() + (b << 12), size_t(e - b) << 12);
      });
      us.push_back(seconds_since(t) * 1e6);
    }
    std::sort(us.begin(), us.end());
    peaks.gbps = 2 * double(bytes) / us[us.size() / 2] * 1e-3;
  }
  const int64_t n = 1536;
  const TestCase gemm{erase(MatMul{}), {.name = "peak", .in = {normal({n, n}), normal({n, n})}}};
  peaks.tflops =
      2.0 * double(n) * double(n) * double(n) / time_case(gemm, Pass::forward, backend, pool, 0.3, 1).p10_us * 1e-6;
  return peaks;
}

}  // namespace dr::harness
