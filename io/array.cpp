#include "io/array.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <type_traits>
#include <utility>

#include "io/text.h"

namespace dr {
namespace {

static_assert(std::endian::native == std::endian::little, "files hold little-endian values");

struct ElementFacts {
  std::string_view name;
  int bits;
};
constexpr ElementFacts kElements[] = {
    // in the order of Element
    {"f64", 64},   {"f32", 32},    {"f16", 16},    {"bf16", 16},   {"i64", 64},    {"i32", 32},    {"i16", 16},
    {"i8", 8},     {"u64", 64},    {"u32", 32},    {"u16", 16},    {"u8", 8},      {"bool", 8},    {"c64", 64},
    {"c128", 128}, {"f8_e5m2", 8}, {"f8_e4m3", 8}, {"f8_e8m0", 8}, {"f6_e2m3", 6}, {"f6_e3m2", 6}, {"f4", 4},
};
static_assert(std::size(kElements) == size_t(Element::f4) + 1);

struct f16 {
  uint16_t bits;
};
struct boolean {
  uint8_t byte;
};

constexpr float widen(f16 v) {
  const uint32_t sign = uint32_t{v.bits & 0x8000u} << 16, exponent = v.bits >> 10 & 31u, mantissa = v.bits & 0x3ffu;
  if (exponent == 0) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(float(mantissa) * 0x1p-24f));
  return std::bit_cast<float>(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13);
}

// The C++ value that an element stands for.
template <class From>
auto value_of(From v) {
  if constexpr (std::is_same_v<From, f16>) return widen(v);
  else if constexpr (std::is_same_v<From, bf16>) return dr::widen(v);
  else if constexpr (std::is_same_v<From, boolean>) return uint8_t(v.byte != 0);
  else return v;
}

// Whether `to` is `v` converted to T without loss. The range is looked at first: a conversion out of it is undefined.
template <class T, class V>
bool convert(V v, T& to) {
  if constexpr (std::is_floating_point_v<V> && std::is_integral_v<T>) {
    const double limit = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (!(double(v) >= double(std::numeric_limits<T>::min()) && double(v) < limit)) return false;
    to = static_cast<T>(v);
    return static_cast<V>(to) == v;
  } else if constexpr (std::is_floating_point_v<V>) {
    if (std::is_same_v<V, double> && std::is_same_v<T, float> && std::abs(v) > std::numeric_limits<float>::max() &&
        !std::isinf(v))
      return false;
    to = static_cast<T>(v);
    return std::isnan(v) || static_cast<V>(to) == v;
  } else if constexpr (std::is_floating_point_v<T>) {
    to = static_cast<T>(v);
    return double(to) < std::ldexp(1.0, std::numeric_limits<V>::digits) && static_cast<V>(to) == v;
  } else {
    to = static_cast<T>(v);
    return std::in_range<T>(v);
  }
}

// Calls f with the row-major index of each element, in the order in which a column-major file holds them.
template <class F>
void for_column_major(const std::vector<int64_t>& shape, int64_t count, F&& f) {
  std::vector<int64_t> strides(shape.size()), index(shape.size());
  int64_t stride = 1;
  for (size_t a = shape.size(); a-- > 0;) strides[a] = stride, stride *= shape[a];
  for (int64_t i = 0, at = 0; i < count; i++) {
    f(at);
    for (size_t a = 0; a < shape.size(); a++) {
      at += strides[a];
      if (++index[a] < shape[a]) break;
      at -= strides[a] * shape[a];
      index[a] = 0;
    }
  }
}

template <class From, class T>
void copy_as(const StoredArray& array, T* to) {
  const int64_t n = array.count();
  if constexpr (std::is_same_v<From, T>)
    if (!array.column_major) {
      if (n > 0) std::memcpy(to, array.bytes.data(), array.bytes.size());
      return;
    }
  const char* from = array.bytes.data();
  const auto element = [&](int64_t at) {
    From v;
    std::memcpy(&v, from, sizeof v);
    from += sizeof v;
    if constexpr (std::is_same_v<From, T>) to[at] = v;
    else if (!convert(value_of(v), to[at]))
      fail("{}: element {} is {}, which {} cannot hold exactly", array.where(), at, value_of(v), name_of(dtype_of<T>));
  };
  if (array.column_major) for_column_major(array.shape, n, element);
  else
    for (int64_t i = 0; i < n; i++) element(i);
}

template <class T>
void copy_elements(const StoredArray& a, T* to) {
  switch (a.element) {
    case Element::f64: return copy_as<double>(a, to);
    case Element::f32: return copy_as<float>(a, to);
    case Element::f16: return copy_as<f16>(a, to);
    case Element::bf16: return copy_as<bf16>(a, to);
    case Element::i64: return copy_as<int64_t>(a, to);
    case Element::i32: return copy_as<int32_t>(a, to);
    case Element::i16: return copy_as<int16_t>(a, to);
    case Element::i8: return copy_as<int8_t>(a, to);
    case Element::u64: return copy_as<uint64_t>(a, to);
    case Element::u32: return copy_as<uint32_t>(a, to);
    case Element::u16: return copy_as<uint16_t>(a, to);
    case Element::u8: return copy_as<uint8_t>(a, to);
    case Element::boolean: return copy_as<boolean>(a, to);
    default:
      fail("{}: holds {}; accepted: f64, f32, f16, bf16, bool, and integers of 8 to 64 bits", a.where(),
           name_of(a.element));
  }
}

}  // namespace

std::string_view name_of(Element e) { return kElements[size_t(e)].name; }
int bits_of(Element e) { return kElements[size_t(e)].bits; }

std::optional<DType> dtype_of_element(Element e) {
  for (DType t : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64, DType::u32, DType::u8})
    if (element_of(t) == e) return t;
  return {};
}

Element element_of(DType t) {
  switch (t) {
    case DType::f32: return Element::f32;
    case DType::bf16: return Element::bf16;
    case DType::f64: return Element::f64;
    case DType::i32: return Element::i32;
    case DType::i64: return Element::i64;
    case DType::u32: return Element::u32;
    case DType::u8: return Element::u8;
  }
  fail("there is no such dtype");
}

std::optional<uint64_t> stored_bytes(Element e, const std::vector<int64_t>& shape) {
  int64_t bits = bits_of(e);
  bool empty = false;
  for (int64_t n : shape) {  // the strides of an empty array must fit too
    if (n < 0 || __builtin_mul_overflow(bits, n > 0 ? n : 1, &bits)) return {};
    empty |= n == 0;
  }
  if (empty) return 0;
  if (bits % 8 != 0) return {};
  return uint64_t(bits) / 8;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); i++) s.append(i ? "," : "").append(std::to_string(shape[i]));
  return s + ")";
}

int64_t StoredArray::count() const {
  int64_t n = 1;
  for (int64_t size : shape) n *= size;
  return n;
}

Sizes StoredArray::sizes() const {
  CHECK(shape.size() <= size_t(kMaxRank), "{}: has {} axes; accepted: up to {}", where(), shape.size(), kMaxRank);
  if (shape.empty()) return {1};
  Sizes sizes;
  for (int64_t n : shape) sizes.d[size_t(sizes.rank++)] = n;
  return sizes;
}

View StoredArray::view() const {
  const std::optional<DType> dtype = dtype_of_element(element);
  CHECK(dtype, "{}: holds {}, which is no type of a tensor; it can be converted", where(), name_of(element));
  CHECK(!column_major, "{}: is stored in column-major (Fortran) order and has to be copied", where());
  CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % size_of(*dtype) == 0,
        "{}: its bytes are not aligned to {} and have to be copied", where(), name_of(*dtype));
  return View(const_cast<char*>(bytes.data()), *dtype, sizes());
}

template <class T>
std::vector<T> StoredArray::values() const {
  std::vector<T> list(static_cast<size_t>(count()));
  copy_elements(*this, list.data());
  return list;
}
template std::vector<float> StoredArray::values<float>() const;
template std::vector<double> StoredArray::values<double>() const;
template std::vector<int64_t> StoredArray::values<int64_t>() const;
template std::vector<int32_t> StoredArray::values<int32_t>() const;
template std::vector<uint32_t> StoredArray::values<uint32_t>() const;
template std::vector<uint8_t> StoredArray::values<uint8_t>() const;

void StoredArray::copy_to(const View& to) const {
  CHECK(sizes() == to.sizes && to.packed(), "{}: has shape {}; a packed tensor of {} was expected", where(),
        shape_text(shape), to_string(to.sizes));
  if (to.dtype == DType::f32) return copy_elements(*this, to.as<float>());
  CHECK(element_of(to.dtype) == element, "{}: holds {}; expected {}", where(), name_of(element), name_of(to.dtype));
  CHECK(!column_major, "{}: is stored in column-major (Fortran) order; only f32 is read from there", where());
  if (!bytes.empty()) std::memcpy(to.data, bytes.data(), bytes.size());
}

std::string StoredArray::where() const { return file->path() + (name.empty() ? "" : ": " + shown(name)); }

}  // namespace dr
