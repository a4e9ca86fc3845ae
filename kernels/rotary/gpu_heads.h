#pragma once
// Heads (B,L,H,D) and the rows of their tables (B,L,D/2) on a device, with any strides before the last axis. Last include of a
// `.cu`, as gpu.h.

#include "kernels/core/gpu.h"

namespace dr::DR_BACKEND {

struct HeadAt {
  int64_t batch, token, head;
};
// Heads counted in the order (b, l, h).
struct HeadCount {
  int64_t length, heads;
  explicit HeadCount(const View& x) : length(x.size(1)), heads(x.size(2)) {}
  DR_DEVICE HeadAt operator()(int64_t r) const {
    const int64_t token = r / heads;
    return {token / length, token % length, r % heads};
  }
};
template <class T>
struct Heads {
  T* data;  // null: absent
  int64_t batch, token, head;  // strides; of a table, which all heads share, the last is 0
  DR_DEVICE T* row(const HeadAt& at) const {
    return data ? data + at.batch * batch + at.token * token + at.head * head : nullptr;
  }
};
template <class T>
Heads<T> heads_of(const View& v) {
  if (!v) return {};
  return {static_cast<T*>(v.data), v.stride(0), v.stride(1), v.rank() == 4 ? v.stride(2) : 0};
}

}  // namespace dr::DR_BACKEND
