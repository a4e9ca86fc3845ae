#include "runtime/tensor.h"

namespace dr {
namespace {

int axis_of(const View& v, int axis, std::string_view what) {
  const int a = axis < 0 ? axis + v.rank() : axis;
  CHECK(a >= 0 && a < v.rank(), "{}: {} has no axis {}", what, to_string(v), axis);
  return a;
}

}  // namespace

Tensor Tensor::empty(const std::shared_ptr<Arena>& arena, DType dtype, const Sizes& sizes) {
  CHECK(sizes.rank > 0, "a tensor needs at least one axis; a scalar has shape (1)");
  int64_t bytes = int64_t(size_of(dtype));
  for (int i = 0; i < sizes.rank; i++)
    CHECK(sizes[i] >= 0 && !__builtin_mul_overflow(bytes, sizes[i], &bytes), "a tensor cannot have shape {}",
          to_string(sizes));
  Tensor t;
  t.storage_ = std::make_shared<Storage>(arena, size_t(bytes));
  t.view_ = View(t.storage_->data(), dtype, sizes);
  return t;
}

Tensor Tensor::zeros(const std::shared_ptr<Arena>& arena, DType dtype, const Sizes& sizes) {
  Tensor t = empty(arena, dtype, sizes);
  arena->device().fill(t.view_.data, 0, t.view_.bytes());
  return t;
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t n) const {
  const int a = axis_of(view_, axis, "slice");
  CHECK(begin >= 0 && n >= 0 && n <= size(a) - begin, "slice: elements {} to {} of axis {} of {}", begin, begin + n, a,
        to_string(view_));
  Tensor t = *this;
  t.view_ = view_.slice(a, begin, n);
  return t;
}

Tensor Tensor::reshape(const Sizes& sizes) const {
  CHECK(sizes.rank > 0 && sizes.count() == count(), "reshape: {} does not fit {}", to_string(view_), to_string(sizes));
  Tensor t = *this;
  t.view_ = View(view_.data, view_.dtype, sizes);
  if (packed()) return t;
  int from = rank() - 1;  // every axis longer than 1 keeps its stride; an axis of size 1 may have any
  for (int to = sizes.rank - 1; to >= 0; to--) {
    if (sizes[to] == 1) continue;
    while (from >= 0 && size(from) == 1) from--;
    CHECK(from >= 0 && size(from) == sizes[to], "reshape: {} is strided and cannot be seen as {}", to_string(view_),
          to_string(sizes));
    t.view_.strides[size_t(to)] = view_.strides[size_t(from--)];
  }
  return t;
}

Tensor Tensor::transpose(int axis_a, int axis_b) const {
  const int a = axis_of(view_, axis_a, "transpose"), b = axis_of(view_, axis_b, "transpose");
  CHECK(a < rank() - 1 && b < rank() - 1, "transpose: axes {} and {} of {}; the last axis stays where it is", a, b,
        to_string(view_));
  Tensor t = *this;
  std::swap(t.view_.sizes[a], t.view_.sizes[b]);
  std::swap(t.view_.strides[size_t(a)], t.view_.strides[size_t(b)]);
  return t;
}

void Tensor::copy_bytes_from(const void* host, size_t elements, DType type) const {
  CHECK(type == dtype() && int64_t(elements) == count(), "copy: {} {} values into {}", elements, name_of(type),
        to_string(view_));
  const size_t width = size_of(type);
  const char* from = static_cast<const char*>(host);
  for_runs(view_, [&](int64_t offset, int64_t n) {
    arena()->device().copy_in(static_cast<char*>(view_.data) + size_t(offset) * width, from, size_t(n) * width);
    from += size_t(n) * width;
  });
}

void Tensor::copy_bytes_to(void* host, DType type) const {
  CHECK(type == dtype(), "copy: {} as {} values", to_string(view_), name_of(type));
  const size_t width = size_of(type);
  char* to = static_cast<char*>(host);
  for_runs(view_, [&](int64_t offset, int64_t n) {
    arena()->device().copy_out(to, static_cast<const char*>(view_.data) + size_t(offset) * width, size_t(n) * width);
    to += size_t(n) * width;
  });
}

std::vector<float> Tensor::floats() const {
  if (dtype() == DType::f32) return to_vector<float>();
  std::vector<float> wide;
  for (bf16 v : to_vector<bf16>()) wide.push_back(widen(v));
  return wide;
}

Tensor Tensor::clone() const {
  Tensor t = empty(arena(), dtype(), sizes());
  const size_t width = size_of(dtype());
  char* to = static_cast<char*>(t.view_.data);
  for_runs(view_, [&](int64_t offset, int64_t n) {
    arena()->device().copy(to, static_cast<const char*>(view_.data) + size_t(offset) * width, size_t(n) * width);
    to += size_t(n) * width;
  });
  return t;
}

bool same_view(const View& a, const View& b) {
  if (a.data != b.data || a.dtype != b.dtype || !(a.sizes == b.sizes)) return false;
  for (int i = 0; i < a.rank(); i++)
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
  return true;
}

}  // namespace dr
