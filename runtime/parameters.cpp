#include "runtime/parameters.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/philox_fill/philox_fill.h"

namespace dr {

Tensor Parameters::add(std::string name, const Sizes& sizes, Init init) {
  Digest digest;
  digest.add(name.data(), name.size());
  const uint32_t op_id = uint32_t(digest.low()) | 0x80000000u;  // apart from the op ids of a step, which count from 0
  for (const Parameter& p : list_) {
    CHECK(p.name != name, "parameter {} exists already", name);
    CHECK(p.op_id != op_id, "parameters {} and {} would get the same random numbers; rename one", p.name, name);
  }
  CHECK(init.deviation >= 0, "parameter {}: deviation {} is negative", name, init.deviation);
  list_.push_back({std::move(name), runtime_.empty(DType::f32, sizes), init, op_id});
  return list_.back().value;
}

void Parameters::initialise(uint64_t seed) {
  const Tensor rng = runtime_.from(std::vector<uint32_t>{uint32_t(seed), uint32_t(seed >> 32), 0, 0}, {kRngWords});
  for (const Parameter& p : list_) {
    const View value = p.value;
    if (p.init.kind == Init::Kind::zeros) {
      runtime_.device().fill(value.data, 0, value.bytes());
    } else if (p.init.kind == Init::Kind::ones) {
      const std::vector<float> one(size_t(value.count()), 1.f);
      p.value.copy_from(std::span<const float>(one));
    } else {
      Context ctx = runtime_.context();
      ctx.op_id = p.op_id;
      const View in[] = {rng, value};
      runtime_.forward(*erase(PhiloxFill{Distribution::normal, 0, p.init.deviation}), ctx, in, {&value, 1});
    }
  }
}

const Parameter& Parameters::at(std::string_view name) const {
  for (const Parameter& p : list_)
    if (p.name == name) return p;
  fail("no parameter is called {}", name);
}

int64_t Parameters::count() const {
  int64_t n = 0;
  for (const Parameter& p : list_) n += p.value.count();
  return n;
}

void Parameters::watch(Tape& tape) const {
  for (const Parameter& p : list_) tape.watch(p.value);
}

std::vector<Tensor> Parameters::gradients(const Tape& tape) const {
  std::vector<Tensor> list;
  for (const Parameter& p : list_) list.push_back(tape.gradient(p.value));
  return list;
}

std::string Parameters::hash() const {
  std::vector<const Parameter*> order;
  for (const Parameter& p : list_) order.push_back(&p);
  std::sort(order.begin(), order.end(), [](const Parameter* a, const Parameter* b) { return a->name < b->name; });
  Digest digest;
  for (const Parameter* p : order) {
    const std::string header = p->name + " " + to_string(p->value.view()) + "\n";
    digest.add(header.data(), header.size());
    const TensorHash h = runtime_.hash(p->value);
    digest.add_value(h.low);
    digest.add_value(h.high);
  }
  return to_hex(digest.high(), digest.low());
}

GradientAccumulator::GradientAccumulator(Runtime& runtime, int64_t leaves, int groups, int rank, int ranks)
    : runtime_(runtime), leaves_(leaves), groups_(groups) {
  CHECK(leaves >= 1, "a step needs at least one leaf, got {}", leaves);
  CHECK(groups >= 1 && std::has_single_bit(unsigned(groups)), "leaf groups must be a power of two, got {}", groups);
  CHECK(ranks >= 1 && std::has_single_bit(unsigned(ranks)) && ranks <= groups,
        "ranks must be a power of two up to the {} leaf groups, got {}", groups, ranks);
  CHECK(rank >= 0 && rank < ranks, "rank {} of {}", rank, ranks);
  first_group_ = group_ = rank * (groups / ranks);
  last_group_ = first_group_ + groups / ranks;
  next_ = bound(first_group_);
  levels_.resize(size_t(std::countr_zero(unsigned(groups / ranks))) + 1);
  close_groups();
}

// Closes every group that ends at the next leaf. Like a binary counter: a group meets the sum of its left neighbours.
void GradientAccumulator::close_groups() {
  for (; group_ < last_group_ && bound(group_ + 1) == next_; group_++) {
    std::vector<Tensor> sum = std::exchange(current_, {});
    size_t level = 0;
    for (unsigned index = unsigned(group_ - first_group_); index & 1; index >>= 1, level++) {
      std::vector<Tensor> left = std::exchange(levels_[level], {});
      merge(left, std::move(sum));
      sum = std::move(left);
    }
    levels_[level] = std::move(sum);
  }
}

void GradientAccumulator::merge(std::vector<Tensor>& into, std::vector<Tensor> later) {
  if (into.empty()) into = std::move(later);
  else if (!later.empty())
    for (size_t i = 0; i < into.size(); i++) {
      CHECK(into[i].present() == later[i].present(), "parameter {} has a gradient in some micro-batches only", i);
      if (later[i]) runtime_.accumulate(into[i], later[i]);
    }
}

void GradientAccumulator::add(const std::vector<Tensor>& gradients) {
  int64_t count = -1;
  for (const Tensor& g : gradients) {
    if (!g) continue;
    CHECK(count < 0 || g.size(0) == count, "gradients of {} and of {} leaves in one micro-batch", count, g.size(0));
    count = g.size(0);
  }
  CHECK(count >= 1 && count <= end_leaf() - next_, "a micro-batch of {} leaves where {} are left", count,
        end_leaf() - next_);
  for (int64_t leaf = 0; leaf < count; leaf++) {
    std::vector<Tensor> row;
    for (const Tensor& g : gradients) {
      if (!g) {
        row.emplace_back();
        continue;
      }
      Sizes sizes;
      for (int i = 1; i < g.rank(); i++) sizes.d[size_t(sizes.rank++)] = g.size(i);
      row.push_back(g.slice(0, leaf, 1).reshape(sizes));
    }
    merge(current_, std::move(row));
    next_++;
    close_groups();
  }
}

std::vector<Tensor> GradientAccumulator::finish() {
  CHECK(group_ == last_group_, "leaf {} of {} is missing", next_, end_leaf());
  return std::exchange(levels_.back(), {});
}

}  // namespace dr
