#pragma once
// View: what a kernel sees of a tensor. Pointer, dtype, sizes and strides (in elements), last axis contiguous.
// A default View is absent: an optional input or an unwanted gradient.

#include <array>
#include <initializer_list>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/dtype.h"

namespace dr {

inline constexpr int kMaxRank = 6;

struct Sizes {
  std::array<int64_t, kMaxRank> d{};
  int rank = 0;

  Sizes() = default;
  Sizes(std::initializer_list<int64_t> list);
  int64_t operator[](int i) const { return d[i < 0 ? rank + i : i]; }
  int64_t& operator[](int i) { return d[i < 0 ? rank + i : i]; }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= d[i];
    return n;
  }
  bool operator==(const Sizes& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; i++)
      if (d[i] != o.d[i]) return false;
    return true;
  }
};

std::string to_string(const Sizes& sizes);  // "(5,33)"

struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Sizes sizes;
  std::array<int64_t, kMaxRank> strides{};  // elements

  View() = default;
  // Packed, row-major.
  View(void* data_, DType dtype_, const Sizes& sizes_) : data(data_), dtype(dtype_), sizes(sizes_) {
    int64_t s = 1;
    for (int i = sizes.rank - 1; i >= 0; i--) {
      strides[i] = s;
      s *= sizes[i];
    }
  }

  // An empty tensor is present (it has a shape); a default View is not.
  bool present() const { return data != nullptr || sizes.rank > 0; }
  explicit operator bool() const { return present(); }
  int rank() const { return sizes.rank; }
  int64_t size(int i) const { return sizes[i]; }
  int64_t stride(int i) const { return strides[i < 0 ? sizes.rank + i : i]; }
  int64_t count() const { return present() ? sizes.count() : 0; }
  size_t bytes() const { return size_t(count()) * size_of(dtype); }

  // Packed row-major from axis `from` on (axes of size 1 never matter).
  bool packed(int from = 0) const {
    int64_t s = 1;
    for (int i = sizes.rank - 1; i >= from; i--) {
      if (sizes[i] != 1 && strides[i] != s) return false;
      s *= sizes[i];
    }
    return true;
  }

  template <class T>
  T* as() const {
    if (dtype != dtype_of<T>) [[unlikely]] fail_dtype(dtype_of<T>);
    return static_cast<T*>(data);
  }
  template <class T, class... I>
  T& at(I... index) const {
    const int64_t idx[] = {int64_t(index)...};
    int64_t offset = 0;
    for (int i = 0; i < int(sizeof...(I)); i++) offset += idx[i] * strides[i];
    return as<T>()[offset];
  }

  // Elements [begin, begin + n) of one axis; shares the memory.
  View slice(int axis, int64_t begin, int64_t n) const {
    View v = *this;
    v.sizes[axis] = n;
    v.data = static_cast<char*>(data) + begin * strides[axis] * int64_t(size_of(dtype));
    return v;
  }

 private:
  [[noreturn]] void fail_dtype(DType expected) const;
};

std::string to_string(const View& v);  // "f32(5,33)"

}  // namespace dr
