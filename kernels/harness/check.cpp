#include "kernels/harness/check.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/device_api.h"
#include "kernels/core/philox.h"

namespace dr::harness {

namespace {

constexpr double kUnit = 0x1p-24;  // fp32's unit roundoff
constexpr double kUnitBf16 = 0x1p-8;
constexpr double kTiny = 0x1p-148;    // two of the smallest subnormals: products may underflow once and round once
constexpr int kGradientSamples = 40;  // elements per input that are compared with central differences
constexpr size_t kMaxMessages = 4;    // per check

struct Call {
  Target target;
  int threads = 1;
  int leaves = 1;
  uint64_t first_sample = 0;
  uint8_t poison = 0xff;   // 0xff...: a NaN in every floating type
  int only_gradient = -1;  // the others are absent
};

std::vector<View> views_of(const std::vector<GuardedTensor>& list) {
  std::vector<View> v;
  for (const GuardedTensor& t : list) v.push_back(t.view());
  return v;
}

struct Result {
  std::vector<GuardedTensor> out, grad;
};

// Tensors of the host in a device's memory, each between guard bytes. On the CPU they are the host's own.
class OnDevice {
 public:
  OnDevice(DeviceApi* api, const std::vector<View>& host) : api_(api), host_(host), views_(host) {
    for (View& v : views_) {
      if (!api_ || !v.present()) continue;
      void* const memory = api_->allocate(extent(v) + 2 * kGuard);
      CHECK(memory, "harness: {} bytes of device memory are not to be had", extent(v) + 2 * kGuard);
      blocks_.push_back(memory);
      auto* const bytes = static_cast<std::byte*>(memory);
      api_->fill(memory, kGuardByte, extent(v) + 2 * kGuard, nullptr);
      if (v.data) api_->copy_in(bytes + kGuard, v.data, extent(v), nullptr);
      v.data = bytes + kGuard;
    }
  }
  ~OnDevice() {
    for (void* p : blocks_) api_->free(p);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  const std::vector<View>& views() const { return views_; }
  // Copies all back, gaps of strided tensors too.
  void bring_back() {
    for (size_t i = 0; api_ && i < host_.size(); i++)
      if (host_[i].data) api_->copy_out(host_[i].data, views_[i].data, extent(host_[i]), nullptr);
    if (api_) api_->synchronize(nullptr);
  }
  bool guards_intact() const {
    bool intact = true;
    for (const View& v : views_) {
      if (!api_ || !v.present()) continue;
      auto* const bytes = static_cast<std::byte*>(v.data);
      for (std::byte* guard : {bytes - kGuard, bytes + extent(v)}) {
        uint8_t seen[kGuard];
        api_->copy_out(seen, guard, kGuard, nullptr);
        api_->synchronize(nullptr);
        for (uint8_t g : seen) intact &= g == kGuardByte;
      }
    }
    return intact;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr uint8_t kGuardByte = 0xa5;
  // Bytes from the first to the last element.
  static size_t extent(const View& v) {
    if (v.count() == 0) return 0;
    int64_t last = 0;
    for (int i = 0; i < v.rank(); i++) last += (v.size(i) - 1) * v.stride(i);
    return size_t(last + 1) * size_of(v.dtype);
  }
  DeviceApi* api_;
  std::vector<View> host_, views_;
  std::vector<void*> blocks_;
};

// Scratch where the target's kernels reach it, 64-byte aligned and filled with one byte.
class Scratch {
 public:
  Scratch(DeviceApi* api, size_t bytes, uint8_t byte) : api_(api), bytes_(bytes) {
    if (api_) device_ = api_->allocate(bytes + 1);
    else host_.resize(bytes + 64);
    refill(byte);
  }
  ~Scratch() {
    if (api_) api_->free(device_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void refill(uint8_t byte) {
    if (api_) api_->fill(device_, byte, bytes_, nullptr);
    else std::fill(host_.begin(), host_.end(), std::byte{byte});
  }
  std::span<std::byte> bytes() {
    if (api_) return {static_cast<std::byte*>(device_), bytes_};
    const size_t skip = (64 - reinterpret_cast<uintptr_t>(host_.data()) % 64) % 64;
    return {host_.data() + skip, bytes_};
  }

 private:
  DeviceApi* api_;
  size_t bytes_;
  void* device_ = nullptr;
  std::vector<std::byte> host_;
};

// Two elements with the same bits, or both NaN.
bool same_bits(const View& a, int64_t i, const View& b, int64_t j) {
  const size_t width = size_of(a.dtype);
  if (std::memcmp(static_cast<const char*>(a.data) + size_t(i) * width,
                  static_cast<const char*>(b.data) + size_t(j) * width, width) == 0)
    return true;
  return is_floating(a.dtype) && std::isnan(get(a, i)) && std::isnan(get(b, j));
}

std::string hex_of(const View& v, int64_t offset) {
  uint64_t bits = 0;
  std::memcpy(&bits, static_cast<const char*>(v.data) + size_t(offset) * size_of(v.dtype), size_of(v.dtype));
  return format("{:#x}", bits);
}

std::string index_of(const View& v, int64_t flat) {
  std::string s;
  for (int i = v.rank() - 1; i >= 0; i--) {
    s = std::to_string(flat % v.size(i)) + (s.empty() ? "" : ",") + s;
    flat /= v.size(i);
  }
  return "[" + s + "]";
}

class Checker {
 public:
  Checker(const TestCase& c, const CheckOptions& options) : case_(c), op_(*c.op), options_(options) {
    report_.op = op_.name();
    report_.name = c.spec.name;
    const Names names = op_.in_names();
    CHECK(c.spec.in.size() == names.size(), "case {} gives {} inputs, {} takes {}", c.id(), c.spec.in.size(),
          op_.name(), names.size());
    for (size_t i = 0; i < names.size(); i++) {
      in_.emplace_back(TensorSpec{c.spec.in[i].dtype, c.spec.in[i].sizes}, c.spec.in[i].pad);
      if (in_.back().view().present()) fill(in_.back().view(), c.spec.in[i], c.id(), names[i], options.seed);
    }
    const Shapes shapes = op_.infer(views_of(in_));
    for (std::string_view name : op_.out_grad_names()) {
      TensorSpec spec = shapes[size_t(find(op_.out_names(), name))];
      if (!is_floating(spec.dtype)) spec.sizes = {};
      out_grad_.emplace_back(spec);
      if (spec.sizes.rank)
        fill(out_grad_.back().view(), normal(spec.sizes), c.id(), std::string("d") + std::string(name), options.seed);
    }
    samples_ = c.spec.samples;
  }

  void show(Backend backend, int threads, const std::function<void(const CallTensors&)>& f) {
    const Result r = call(views_of(in_), views_of(out_grad_), {.target = backend, .threads = threads, .leaves = samples_});
    f({views_of(in_), views_of(r.out), views_of(out_grad_), views_of(r.grad)});
  }

  Report run() {
    const Target first = options_.targets.at(0);
    Result base = call(views_of(in_), views_of(out_grad_), {.target = first, .leaves = samples_});
    check_reference(base, first);
    check_gradient(base, first);
    {
      Result again = call(views_of(in_), views_of(out_grad_), {.target = first, .leaves = samples_, .poison = 0x3c});
      compare(base, again, "a second run with other contents in outputs and scratch", report_.memory_ok);
    }
    for (int threads : options_.threads) {
      Result r = call(views_of(in_), views_of(out_grad_), {.target = first, .threads = threads, .leaves = samples_});
      compare(base, r, format("{} threads", threads), report_.threads_equal);
    }
    check_single_gradients(base, first);
    check_targets(base);
    if (samples_ > 1) check_slices(base);
    return std::move(report_);
  }

  Report run_equal() {
    check_targets(call(views_of(in_), views_of(out_grad_), {.target = options_.targets.at(0), .leaves = samples_}));
    return std::move(report_);
  }

 private:
  void failure(std::string text) { report_.failures.push_back(std::move(text)); }

  // The bits of every target, and, of the first of a device's, those of each gradient wanted alone: what is absent does not
  // depend on the order of threads.
  void check_targets(const Result& base) {
    std::string before;
    std::vector<std::pair<std::string, Result>> fast;  // the first result of each kind of target
    for (size_t i = 1; i < options_.targets.size(); i++) {
      const Target& target = options_.targets[i];
      if (!op_.runs_on(target.backend)) continue;
      Result r = call(views_of(in_), views_of(out_grad_), {.target = target, .leaves = samples_, .poison = target.simt.poison});
      if (target.math == MathTier::fast && op_.fast_factor(views_of(in_)) > 0) {
        // Other instructions sum in another order.
        const std::string kind = format("{} {} {}", dr::name_of(target.backend), target.simt.lanes, target.simt.hopper);
        const auto known = std::find_if(fast.begin(), fast.end(), [&](const auto& f) { return f.first == kind; });
        if (known == fast.end()) {
          check_reference(r, target);
          check_gradient(r, target);
          fast.emplace_back(kind, std::move(r));
        } else {
          compare(known->second, r, target.label(), report_.device_equal);
        }
        continue;
      }
      compare(base, r, target.label(), report_.device_equal);
      const std::string kind = format("{} {}", dr::name_of(target.backend), int(target.math));
      if (!is_cpu(target.backend) && kind != before) check_single_gradients(base, target);
      before = kind;
    }
  }

  void check_single_gradients(const Result& base, const Target& target) {
    for (size_t g = 0; base.grad.size() > 1 && g < base.grad.size(); g++) {
      Result r = call(views_of(in_), views_of(out_grad_), {.target = target, .leaves = samples_, .only_gradient = int(g)});
      compare_tensor(base.grad[g].view(), r.grad[g].view(), op_.grad_names()[g],
                     format("no other gradient asked for ({})", target.label()), report_.memory_ok);
    }
  }

  Result call(const std::vector<View>& host_in, const std::vector<View>& host_out_grad, const Call& how) {
    const Backend backend = how.target.backend;
    emulator::settings() = how.target.simt;
    DeviceApi* const api = is_cpu(backend) ? nullptr : device_api(backend);
    CHECK(api || is_cpu(backend), "backend {} is not built into this program", dr::name_of(backend));
    Result r;
    for (const TensorSpec& spec : op_.infer(host_in)) r.out.emplace_back(spec);
    for (GuardedTensor& t : r.out) t.poison(how.poison);

    ThreadPool pool(how.threads);
    Scratch scratch(api, op_.scratch_bytes(host_in, backend, how.threads), how.poison);
    Context ctx;
    ctx.backend = backend;
    ctx.math = how.target.math;
    ctx.pool = how.threads > 1 ? &pool : nullptr;
    ctx.fault = api ? api->fault() : nullptr;
    ctx.scratch = scratch.bytes();
    Scratch workspace(api, how.target.math == MathTier::fast ? size_t{1} << 20 : 0, how.poison);
    if (how.target.math == MathTier::fast) ctx.workspace = workspace.bytes();
    ctx.leaves = how.leaves;
    ctx.first_sample = how.first_sample;
    ctx.op_id = kReferenceOpId;
    bool intact = true;
    OnDevice in(api, host_in), out(api, views_of(r.out));
    op_.forward(ctx, in.views(), out.views());
    out.bring_back();
    inject(r.out, how, false);
    if (op_.differentiable()) {
      std::vector<View> saved = out.views();
      for (size_t i = 0; i < saved.size(); i++)
        if (!op_.out_saved(op_.out_names()[i])) saved[i].data = nullptr;
      for (const TensorSpec& spec : op_.infer_grad(host_in, how.leaves)) {
        const bool wanted = how.only_gradient < 0 || size_t(how.only_gradient) == r.grad.size();
        r.grad.push_back(wanted ? GuardedTensor(spec) : GuardedTensor());
      }
      for (GuardedTensor& t : r.grad) t.poison(how.poison);
      scratch.refill(how.poison);
      OnDevice out_grad(api, host_out_grad), grad(api, views_of(r.grad));
      op_.backward(ctx, in.views(), saved, out_grad.views(), grad.views());
      grad.bring_back();
      intact = out_grad.guards_intact() && grad.guards_intact();
      inject(r.grad, how, true);
    }
    in.bring_back();  // so that a kernel that writes an input's gaps is seen
    intact = intact && in.guards_intact() && out.guards_intact();
    for (const auto* list : {&in_, &out_grad_, &r.out, &r.grad})
      for (const GuardedTensor& t : *list) intact &= t.guards_intact();
    if (!intact && report_.memory_ok)
      failure(format("{}: bytes outside a tensor were written ({} threads, {})", case_.id(), how.threads, how.target.label()));
    report_.memory_ok &= intact;
    return r;
  }

  // ---- outputs against the double reference ----

  // How many times its canonical bound an error of this target may be.
  double factor_of(const Target& target) const {
    const double fast = target.math == MathTier::fast ? op_.fast_factor(views_of(in_)) : 0;
    return fast > 0 ? fast : 1;
  }
  static std::string tier_of(const Target& target) { return target.math == MathTier::fast ? " (" + target.label() + ")" : ""; }

  void check_reference(const Result& r, const Target& target) {
    const double factor = factor_of(target);
    std::vector<GuardedTensor> in, out, bound;
    for (const GuardedTensor& t : in_) in.push_back(to_double(t.view()));
    for (const GuardedTensor& t : r.out) {
      const TensorSpec spec{is_floating(t.view().dtype) ? DType::f64 : t.view().dtype, t.view().sizes};
      out.emplace_back(spec);
      bound.emplace_back(TensorSpec{DType::f64, t.view().sizes});
      out.back().poison(0xff);
      bound.back().poison(0xff);
    }
    op_.reference(views_of(in), views_of(out), views_of(bound));
    for (size_t f = 0; f < r.out.size(); f++) {
      const View y = r.out[f].view(), ref = out[f].view(), k = bound[f].view();
      size_t shown = 0;
      int64_t i = 0, undecided = 0;
      for_elements(y, [&](int64_t offset) {
        const double value = get(y, offset), expected = get(ref, i), terms = get(k, i);
        // An integer is exact unless the reference wrote a bound, in whole units, over the poison, which is a NaN.
        double limit = is_floating(y.dtype) ? factor * kUnit * terms + kTiny : std::isnan(terms) ? 0 : terms;
        undecided += std::isinf(limit);
        if (y.dtype == DType::bf16) limit += kUnitBf16 * (std::fabs(expected) + limit) + 0x1p-133;
        const bool overflow =
            std::isinf(value) && value * expected > 0 && std::fabs(expected) + limit >= double(FLT_MAX);
        const double error = overflow || value == expected ? 0 : std::fabs(value - expected);
        const double ratio = error == 0 ? 0 : limit > 0 ? error / limit : std::numeric_limits<double>::infinity();
        if (!(ratio <= report_.error_over_bound))
          report_.error_over_bound = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
        if (!(error <= limit * options_.tolerance_scale) && shown++ < kMaxMessages)
          failure(format("{}{}: {}{} is {:.9g}, the reference {:.9g}; error {:.3g}, bound {:.3g}", case_.id(),
                         tier_of(target), op_.out_names()[f], index_of(y, i), value, expected, std::fabs(value - expected),
                         limit));
        i++;
      });
      if (undecided * 10 > i)
        failure(format("{}: the reference leaves {} of {} elements of {} undecided; at most a tenth may lie that close "
                       "to an edge", case_.id(), undecided, i, op_.out_names()[f]));
    }
  }

  // ---- gradients against central differences of the double reference ----

  void check_gradient(const Result& r, const Target& target) {
    if (!case_.differentiable()) return;
    if (!case_.spec.gradient) {
      report_.gradient = "skipped";
      return;
    }
    report_.gradient = "ok";
    const size_t before = report_.failures.size();
    std::vector<GuardedTensor> in, plus, minus, bound;
    for (const GuardedTensor& t : in_) in.push_back(to_double(t.view()));
    for (const GuardedTensor& t : r.out) {
      const TensorSpec spec{is_floating(t.view().dtype) ? DType::f64 : t.view().dtype, t.view().sizes};
      plus.emplace_back(spec), minus.emplace_back(spec), bound.emplace_back(TensorSpec{DType::f64, t.view().sizes});
    }
    const double k = factor_of(target) * op_.gradient_k(views_of(in_));
    for (size_t g = 0; g < r.grad.size(); g++) {
      const std::string_view field = op_.grad_names()[g];
      const GuardedTensor& x = in[size_t(find(op_.in_names(), field))];
      const View grad = r.grad[g].view();
      if (!grad.present() || x.view().count() == 0) continue;
      const bool per_leaf = op_.in_shared(field);
      const int leaves = per_leaf ? samples_ : 1;
      const int64_t count = x.view().count(), step = std::max<int64_t>(1, count / kGradientSamples);

      struct Row {
        int64_t element;
        double difference, terms, noise;
      };
      std::vector<Row> rows;
      double mean_terms = 0, largest = 0, largest_difference = 0;
      for (int64_t e = 0; e < count; e += step) {
        const int64_t element = std::min(count - 1, e + (e * 7919) % step);  // not always the same column
        const double value = get(x.view(), element), h = std::ldexp(1.0, -17) * std::max(1.0 / 16, std::fabs(value));
        set(x.view(), element, value + h);
        const double up = get(x.view(), element);
        op_.reference(views_of(in), views_of(plus), views_of(bound));
        set(x.view(), element, value - h);
        const double width = up - get(x.view(), element);
        op_.reference(views_of(in), views_of(minus), views_of(bound));
        set(x.view(), element, value);
        std::vector<Row> leaf(size_t(leaves), Row{element, 0, 0, 0});
        for (size_t o = 0; o < out_grad_.size(); o++) {
          const View dy = out_grad_[o].view();
          const size_t f = size_t(find(op_.out_names(), op_.out_grad_names()[o]));
          const int64_t per_sample = std::max<int64_t>(1, dy.count() / leaves);
          int64_t i = 0;
          for_elements(dy, [&](int64_t offset) {
            const double a = get(plus[f].view(), i), b = get(minus[f].view(), i), w = get(dy, offset);
            Row& row = leaf[size_t(i / per_sample)];
            row.difference += w * ((a - b) / width);
            row.terms += std::fabs(w * ((a - b) / width));
            row.noise += std::fabs(w) * (std::fabs(a) + std::fabs(b)) / width;
            i++;
          });
        }
        for (const Row& row : leaf) rows.push_back(row), mean_terms += row.terms;
      }
      mean_terms /= double(rows.size());
      size_t shown = 0;
      for (size_t i = 0; i < rows.size(); i++) {
        const Row& row = rows[i];
        const int64_t flat = row.element + int64_t(i % size_t(leaves)) * count;
        const double value = get(grad, flat);  // gradients are packed
        // 2^-50: rounding of the reference itself; 2^-30: the truncation h^2 f'''/6 of the difference. A sixteenth of
        // the tensor's mean magnitude stands in where an element's own terms happen to vanish.
        double limit = k * kUnit * (row.terms + mean_terms / 16) + 0x1p-30 * (row.terms + mean_terms / 16) +
                       0x1p-50 * row.noise + kTiny;
        if (grad.dtype == DType::bf16) limit += kUnitBf16 * (std::fabs(row.difference) + limit);
        const double error = std::fabs(value - row.difference), ratio = error / limit;
        if (!(ratio <= report_.gradient_over_bound))
          report_.gradient_over_bound = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
        if (!(error <= limit * options_.tolerance_scale) && shown++ < kMaxMessages)
          failure(format("{}{}: gradient of {}{} is {:.9g}, central differences give {:.9g}; error {:.3g}, bound {:.3g}",
                         case_.id(), tier_of(target), field, index_of(grad, flat), value, row.difference, error, limit));
        largest = std::max(largest, std::fabs(value));
        largest_difference = std::max(largest_difference, std::fabs(row.difference));
      }
      if (!(largest > 0 && largest_difference > 0))
        failure(format("{}{}: the gradient of {} is zero (kernel {}, central differences {}): nothing is proven",
                       case_.id(), tier_of(target), field, largest, largest_difference));
    }
    if (report_.failures.size() != before) report_.gradient = "failed";
  }

  // ---- equal bits ----

  void compare(const Result& a, const Result& b, std::string_view what, bool& flag) {
    compare_list(a.out, b.out, op_.out_names(), what, flag);
    compare_list(a.grad, b.grad, op_.grad_names(), what, flag);
  }

  void compare_list(const std::vector<GuardedTensor>& a, const std::vector<GuardedTensor>& b, Names names,
                    std::string_view what, bool& flag) {
    for (size_t f = 0; f < a.size(); f++) compare_tensor(a[f].view(), b[f].view(), names[f], what, flag);
  }

  void compare_tensor(const View& a, const View& b, std::string_view name, std::string_view what, bool& flag) {
    std::vector<int64_t> offsets;
    for_elements(b, [&](int64_t o) { offsets.push_back(o); });
    size_t i = 0, different = 0;
    std::string first;
    for_elements(a, [&](int64_t o) {
      const int64_t other = offsets[i];
      if (!same_bits(a, o, b, other) && different++ == 0)
        first = format("{} {} ({}) against {} ({})", index_of(a, int64_t(i)), get(a, o), hex_of(a, o), get(b, other),
                       hex_of(b, other));
      i++;
    });
    if (different == 0) return;
    flag = false;
    failure(format("{}: {} has other bits with {}: {} of {} elements, first {}", case_.id(), name, what, different, i,
                   first));
  }

  // ---- a batch against its samples, one at a time ----

  View sample_of(const View& v, bool shared, int s) const {
    if (shared || !v.present()) return v;
    CHECK(v.size(0) % samples_ == 0, "case {}: {} does not divide into {} samples", case_.id(), to_string(v), samples_);
    const int64_t n = v.size(0) / samples_;
    return v.slice(0, s * n, n);
  }

  void check_slices(const Result& whole) {
    for (int s = 0; s < samples_; s++) {
      std::vector<View> in, out_grad;
      for (size_t i = 0; i < in_.size(); i++)
        in.push_back(sample_of(in_[i].view(), op_.in_shared(op_.in_names()[i]), s));
      for (size_t i = 0; i < out_grad_.size(); i++)
        out_grad.push_back(sample_of(out_grad_[i].view(), op_.out_shared(op_.out_grad_names()[i]), s));
      Result one = call(in, out_grad, {.target = options_.targets[0], .leaves = 1, .first_sample = uint64_t(s)});
      const std::string what = format("sample {} of {} alone", s, samples_);
      for (size_t f = 0; f < one.out.size(); f++)
        if (!op_.out_shared(op_.out_names()[f]))
          compare_tensor(sample_of(whole.out[f].view(), false, s), one.out[f].view(), op_.out_names()[f], what,
                         report_.batch_equal);
      for (size_t f = 0; f < one.grad.size(); f++) {
        const std::string_view field = op_.grad_names()[f];
        if (!one.grad[f].view().present()) continue;
        if (op_.in_shared(field))
          compare_tensor(whole.grad[f].view().slice(0, s, 1), one.grad[f].view(), field, what, report_.batch_equal);
        else
          compare_tensor(sample_of(whole.grad[f].view(), false, s), one.grad[f].view(), field, what,
                         report_.batch_equal);
      }
    }
  }

  // ---- faults ----

  // Bit 0 breaks equality of bits; an integer output may have a bound of a unit or two, which bit 4 exceeds.
  static void flip_bit(const View& v, int bit) {
    static_cast<uint8_t*>(v.data)[size_t(v.count() / 2) * size_of(v.dtype)] ^= uint8_t(1 << bit);
  }

  void inject(std::vector<GuardedTensor>& list, const Call& how, bool gradients) {
    const Fault fault = options_.fault;
    if (fault == Fault::none) return;
    const bool on_gradients = fault == Fault::wrong_gradient || fault == Fault::dropped_gradient;
    if (on_gradients != gradients) return;
    GuardedTensor* target = nullptr;
    for (GuardedTensor& t : list)
      if (t.view().count() > 0 && !target) target = &t;
    if (!target) return;
    const View v = target->view();
    const int64_t middle = v.count() / 2;
    switch (fault) {
      case Fault::none: return;
      case Fault::wrong_kernel:
      case Fault::wrong_gradient:
        for (int64_t i = 0; i < v.count(); i++)
          set(v, i, is_floating(v.dtype) ? get(v, i) * 1.01 : double(int64_t(get(v, i)) ^ 16));
        return;
      case Fault::nan:
        if (is_floating(v.dtype))
          set(v, middle, std::numeric_limits<double>::quiet_NaN());
        else
          flip_bit(v, 4);
        return;
      case Fault::one_element: {
        double largest = 0;
        for (int64_t i = 0; i < v.count(); i++) largest = std::max(largest, std::fabs(get(v, i)));
        if (is_floating(v.dtype))
          set(v, middle, get(v, middle) + largest / 32 + 1e-30);
        else
          flip_bit(v, 4);
        return;
      }
      case Fault::unwritten:
        std::memset(static_cast<char*>(v.data) + size_t(middle) * size_of(v.dtype), how.poison, size_of(v.dtype));
        return;
      case Fault::out_of_bounds: static_cast<uint8_t*>(v.data)[v.bytes()] ^= 1; return;
      case Fault::thread_dependent:
        if (how.threads == 2) flip_bit(v, 0);
        return;
      case Fault::isa_dependent:
        // The fast tier's own bits are the first of its targets'.
        if (how.target.label() != options_.targets[0].label() &&
            !(how.target.math == MathTier::fast && how.target.simt.order == emulator::Order::identity))
          flip_bit(v, 0);
        return;
      case Fault::batch_dependent:
        if (how.leaves != samples_ || how.first_sample) flip_bit(v, 0);
        return;
      case Fault::dropped_gradient: std::memset(v.data, 0, v.bytes()); return;
    }
  }

  const TestCase& case_;
  const AnyOp& op_;
  const CheckOptions& options_;
  int samples_ = 1;
  std::vector<GuardedTensor> in_, out_grad_;
  Report report_;
};

}  // namespace

std::string_view name_of(Fault f) {
  constexpr std::string_view names[] = {"none",
                                        "wrong_kernel",
                                        "nan",
                                        "one_element",
                                        "unwritten",
                                        "out_of_bounds",
                                        "thread_dependent",
                                        "isa_dependent",
                                        "batch_dependent",
                                        "wrong_gradient",
                                        "dropped_gradient"};
  return names[int(f)];
}

std::string Target::label() const {
  const std::string_view tier = math == MathTier::fast ? ", fast" : "";
  if (backend != Backend::simt) return format("{}{}", dr::name_of(backend), tier);
  constexpr std::string_view orders[] = {"in order", "in reverse order", "in seeded order"};
  return format("simt with {} lanes{} {}{}{}", simt.lanes, simt.hopper ? "" : ", not Hopper,", orders[int(simt.order)],
                simt.order == emulator::Order::seeded ? format(" {}", simt.seed) : "", tier);
}

std::vector<Target> emulator_targets(int seeds, MathTier math) {
  using emulator::Order;
  std::vector<Target> list;
  const auto add_all = [&](int lanes, bool hopper) {
    const auto add = [&](Order order, uint64_t seed, uint8_t poison) {
      list.push_back(
          {Backend::simt, {.lanes = lanes, .hopper = hopper, .order = order, .seed = seed, .poison = poison}, math});
    };
    add(Order::identity, 1, 0xff);
    add(Order::reverse, 1, 0x3c);
    for (int s = 1; s <= seeds; s++) add(Order::seeded, uint64_t(s), s % 2 ? 0xff : 0x3c);
  };
  add_all(32, true);
  if (math == MathTier::fast) add_all(32, false);  // the canonical kernels do not ask
  add_all(64, false);
  return list;
}

Report check_case(const TestCase& c, const CheckOptions& options) { return Checker(c, options).run(); }
Report check_equal(const TestCase& c, const CheckOptions& options) { return Checker(c, options).run_equal(); }

void run_case(const TestCase& c, Backend backend, int threads, uint64_t seed,
              const std::function<void(const CallTensors&)>& show) {
  CheckOptions options;
  options.seed = seed;
  Checker(c, options).show(backend, threads, show);
}

bool applies(Fault fault, const TestCase& c, const CheckOptions& options) {
  const bool gradient = c.differentiable() && c.spec.gradient;
  int64_t elements = 0;
  for (const Input& i : c.spec.in) elements += i.sizes.rank ? i.sizes.count() : 0;
  if (c.spec.bench || elements == 0) return false;
  switch (fault) {
    case Fault::wrong_gradient:
    case Fault::dropped_gradient: return gradient;
    case Fault::batch_dependent: return c.spec.samples > 1 && !c.op->out_shared(c.op->out_names()[0]);
    case Fault::isa_dependent: return options.targets.size() > 1;
    default: return true;
  }
}

}  // namespace dr::harness
