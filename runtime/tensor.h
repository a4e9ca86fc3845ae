#pragma once
// Tensor: a view of reference-counted storage from an arena. Copying a Tensor copies the handle, never the data;
// slices, reshapes and transposes share the storage. A default Tensor is absent. No autograd inside: that is the
// tape's.

#include <span>

#include "kernels/core/view.h"
#include "runtime/arena.h"

namespace dr {

class Tensor {
 public:
  Tensor() = default;

  // Packed; the contents of an empty one are undefined.
  static Tensor empty(const std::shared_ptr<Arena>& arena, DType dtype, const Sizes& sizes);
  static Tensor zeros(const std::shared_ptr<Arena>& arena, DType dtype, const Sizes& sizes);
  template <class T>
  static Tensor from(const std::shared_ptr<Arena>& arena, std::span<const T> values, const Sizes& sizes) {
    Tensor t = empty(arena, dtype_of<T>, sizes);
    t.copy_from(values);
    return t;
  }
  template <class T>
  static Tensor from(const std::shared_ptr<Arena>& arena, const std::vector<T>& values, const Sizes& sizes) {
    return from(arena, std::span<const T>(values), sizes);
  }

  const View& view() const { return view_; }
  operator const View&() const { return view_; }
  bool present() const { return view_.present(); }
  explicit operator bool() const { return present(); }
  DType dtype() const { return view_.dtype; }
  const Sizes& sizes() const { return view_.sizes; }
  int rank() const { return view_.rank(); }
  int64_t size(int axis) const { return view_.size(axis); }
  int64_t count() const { return view_.count(); }
  bool packed() const { return view_.packed(); }

  // Views of the same memory. Axes count from 0, or from the end when negative.
  Tensor slice(int axis, int64_t begin, int64_t n) const;
  Tensor reshape(const Sizes& sizes) const;        // of a packed tensor; of any, where only axes of size 1 come and go
  Tensor transpose(int axis_a, int axis_b) const;  // not the last axis, which stays contiguous

  // Host copies in logical (row-major) order, whatever the strides. T must be the tensor's dtype.
  template <class T>
  void copy_from(std::span<const T> values) const {
    copy_bytes_from(values.data(), values.size(), dtype_of<T>);
  }
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<size_t>(count()));
    copy_bytes_to(values.data(), dtype_of<T>);
    return values;
  }
  std::vector<float> floats() const;  // f32, or bf16 widened

  Tensor clone() const;  // a packed copy in storage of its own

  uint64_t storage_id() const { return storage_ ? storage_->id() : 0; }
  bool sole_owner() const { return storage_.use_count() == 1; }  // nothing else refers to the storage
  const std::shared_ptr<Arena>& arena() const { return storage_->arena(); }

 private:
  void copy_bytes_from(const void* host, size_t elements, DType dtype) const;
  void copy_bytes_to(void* host, DType dtype) const;

  std::shared_ptr<Storage> storage_;
  View view_;
};

// Same memory, same shape, same strides where they matter.
bool same_view(const View& a, const View& b);

// Calls f(offset, n) for the contiguous runs of v in logical order; offset and n in elements.
template <class F>
void for_runs(const View& v, F&& f) {
  if (v.count() == 0) return;
  int axes = v.rank();  // axes before the run
  int64_t run = 1;
  while (axes > 0 && (v.size(axes - 1) == 1 || v.stride(axes - 1) == run)) run *= v.size(--axes);
  std::array<int64_t, kMaxRank> index{};
  int64_t offset = 0;
  for (;;) {
    f(offset, run);
    int a = axes - 1;
    for (; a >= 0; a--) {
      offset += v.strides[size_t(a)];
      if (++index[size_t(a)] < v.sizes.d[size_t(a)]) break;
      offset -= v.strides[size_t(a)] * v.sizes.d[size_t(a)];
      index[size_t(a)] = 0;
    }
    if (a < 0) return;
  }
}

}  // namespace dr
