#include "kernels/harness/cases.h"
#include "kernels/op_list.h"

namespace dr::harness {

namespace {

template <class... O>
void append(std::vector<TestCase>& list, OpList<O...>) {
  (
      [&] {
        for (const Case<O>& c : O::cases()) list.push_back({erase(c.op), c});
      }(),
      ...);
}

}  // namespace

std::vector<TestCase> all_cases() {
  std::vector<TestCase> list;
  append(list, AllOps{});
  return list;
}

}  // namespace dr::harness
