#pragma once
// An array inside a file: element type, shape and bytes. What safetensors and .npy files hold.

#include <optional>
#include <string>
#include <vector>

#include "io/file.h"
#include "kernels/core/view.h"

namespace dr {

// Everything that such files may hold; what the program computes with is DType.
enum class Element : uint8_t {
  f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean, c64, c128,
  f8_e5m2, f8_e4m3, f8_e8m0, f6_e2m3, f6_e3m2, f4
};
std::string_view name_of(Element e);
int bits_of(Element e);
std::optional<DType> dtype_of_element(Element e);
Element element_of(DType t);

inline constexpr size_t kMaxStoredRank = 64;  // of NumPy; a View has at most kMaxRank axes

// The size of an array, or nothing where it is no whole number of bytes or needs more than 63 bits.
std::optional<uint64_t> stored_bytes(Element e, const std::vector<int64_t>& shape);

// "(5,33)"; "()" is a scalar.
std::string shape_text(const std::vector<int64_t>& shape);

struct StoredArray {
  FileBytes file;    // keeps the bytes alive
  std::string name;  // within the file; may be empty
  Element element = Element::f32;
  std::vector<int64_t> shape;  // empty for a scalar
  bool column_major = false;   // the first axis varies fastest (NumPy's Fortran order)
  std::string_view bytes;      // as long as element and shape say

  int64_t count() const;
  Sizes sizes() const;  // a scalar is (1). Throws above kMaxRank axes.

  // In place, for reading only: the file is mapped without the right to write. Throws where that is impossible: an
  // element type that is no DType, bytes that are not aligned to it, column-major order.
  View view() const;

  // A copy in row-major order from bytes of any alignment. Each element is converted exactly, and refused where its
  // value has no place in T. T: float, double, int64_t, int32_t, uint32_t, uint8_t.
  template <class T>
  std::vector<T> values() const;

  // The same into a packed tensor of equal shape: of the same dtype, or into f32 from anything that converts exactly.
  void copy_to(const View& to) const;

  std::string where() const;  // "weights.safetensors: blocks.0.weight", for messages
};

}  // namespace dr
