#pragma once
// Every case of every op behind one type, and the deterministic data that fills it.

#include <string>
#include <vector>

#include "kernels/core/any_op.h"

namespace dr::harness {

struct TestCase {
  std::shared_ptr<const AnyOp> op;
  CaseSpec spec;
  std::string id() const { return std::string(op->name()) + "/" + spec.name; }
  bool differentiable() const;  // whether an input of this case can have a gradient
};

// In the order of AllOps. Bench cases are included; look at spec.bench.
std::vector<TestCase> all_cases();

// One tensor between guard bytes. The gaps of a strided tensor are guarded too.
class GuardedTensor {
 public:
  GuardedTensor() = default;
  GuardedTensor(const TensorSpec& spec, int64_t pad = 0);  // every byte is the guard value

  const View& view() const { return view_; }
  void poison(uint8_t byte);  // fills the elements, not the guards
  bool guards_intact() const;

 private:
  std::vector<std::byte> storage_;
  std::vector<bool> element_;  // which bytes of storage_ belong to elements; empty when they are one block
  size_t begin_ = 0, bytes_ = 0;
  View view_;
};

// Fills a tensor as its Input says: a pure function of (id, field, seed, element index), the same on every machine.
void fill(const View& v, const Input& input, std::string_view id, std::string_view field, uint64_t seed = 1);

// Calls f(offset in elements) for every element of v in row-major order.
template <class F>
void for_elements(const View& v, F&& f) {
  if (!v.present() || v.count() == 0) return;
  std::array<int64_t, kMaxRank> index{};
  int64_t offset = 0;
  for (;;) {
    f(offset);
    int axis = v.rank() - 1;
    for (; axis >= 0; axis--) {
      offset += v.stride(axis);
      if (++index[size_t(axis)] < v.size(axis)) break;
      offset -= v.stride(axis) * v.size(axis);
      index[size_t(axis)] = 0;
    }
    if (axis < 0) return;
  }
}

double get(const View& v, int64_t offset);              // any dtype, widened
void set(const View& v, int64_t offset, double value);  // rounded once

// A packed double copy of a floating tensor; other dtypes are copied as they are.
GuardedTensor to_double(const View& v);

}  // namespace dr::harness
