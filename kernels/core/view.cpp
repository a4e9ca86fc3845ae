#include "kernels/core/view.h"

namespace dr {

Sizes::Sizes(std::initializer_list<int64_t> list) {
  CHECK(list.size() <= kMaxRank, "a tensor has at most {} axes, got {}", kMaxRank, list.size());
  for (int64_t v : list) d[size_t(rank++)] = v;
}

void View::fail_dtype(DType expected) const {
  fail("expected a {} tensor, got {} {}", name_of(expected), name_of(dtype), to_string(sizes));
}

std::string to_string(const Sizes& sizes) {
  std::string s = "(";
  for (int i = 0; i < sizes.rank; i++) s.append(i ? "," : "").append(std::to_string(sizes[i]));
  return s + ")";
}

std::string to_string(const View& v) {
  return v.present() ? std::string(name_of(v.dtype)) + to_string(v.sizes) : "absent";
}

}  // namespace dr
