#include "kernels/harness/cases.h"

#include <algorithm>
#include <cmath>

namespace dr::harness {

namespace {

constexpr size_t kGuard = 64;
constexpr std::byte kGuardByte{0xa5};

uint64_t mix(uint64_t z) {  // splitmix64's finaliser (Steele, Lea & Flood 2014)
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct Stream {  // uniform numbers that depend on nothing but the key and the call count
  uint64_t state;
  double uniform() { return double(mix(state += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53; }
  // Twelve uniforms less six: mean 0, deviation 1, and no libm whose last bit differs between machines.
  double normal() {
    double s = -6;
    for (int i = 0; i < 12; i++) s += uniform();
    return s;
  }
};

uint64_t key_of(std::string_view id, std::string_view field) {
  uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (std::string_view part : {id, std::string_view("\n"), field})
    for (char c : part) h = (h ^ uint8_t(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

bool TestCase::differentiable() const {
  for (std::string_view field : op->grad_names()) {
    const Input& input = spec.in[size_t(find(op->in_names(), field))];
    if (input.sizes.rank && is_floating(input.dtype)) return true;
  }
  return false;
}

GuardedTensor::GuardedTensor(const TensorSpec& spec, int64_t pad) {
  view_ = View(nullptr, spec.dtype, spec.sizes);
  if (spec.sizes.rank == 0) return;
  if (pad) {
    int64_t s = spec.sizes[-1] + pad;
    for (int i = spec.sizes.rank - 2; i >= 0; i--) {
      view_.strides[size_t(i)] = s;
      s *= spec.sizes[i];
    }
  }
  int64_t extent = spec.sizes.count() ? 1 : 0;
  for (int i = 0; i < spec.sizes.rank; i++) extent += spec.sizes.count() ? (spec.sizes[i] - 1) * view_.stride(i) : 0;
  const size_t width = size_of(spec.dtype);
  bytes_ = size_t(extent) * width;
  storage_.assign(bytes_ + 3 * kGuard, kGuardByte);
  const auto address = reinterpret_cast<uintptr_t>(storage_.data());
  begin_ = kGuard + (kGuard - address % kGuard) % kGuard;
  view_.data = storage_.data() + begin_;
  if (!view_.packed()) {
    element_.assign(bytes_, false);
    for_elements(view_, [&](int64_t offset) { std::fill_n(element_.begin() + offset * int64_t(width), width, true); });
  }
}

void GuardedTensor::poison(uint8_t byte) {
  for (size_t i = 0; i < bytes_; i++)
    if (element_.empty() || element_[i]) storage_[begin_ + i] = std::byte{byte};
}

bool GuardedTensor::guards_intact() const {
  for (size_t i = 0; i < storage_.size(); i++) {
    const bool inside = i >= begin_ && i < begin_ + bytes_ && (element_.empty() || element_[i - begin_]);
    if (!inside && storage_[i] != kGuardByte) return false;
  }
  return true;
}

double get(const View& v, int64_t offset) {
  switch (v.dtype) {
    case DType::f32: return static_cast<const float*>(v.data)[offset];
    case DType::bf16: return widen(static_cast<const bf16*>(v.data)[offset]);
    case DType::f64: return static_cast<const double*>(v.data)[offset];
    case DType::i32: return static_cast<const int32_t*>(v.data)[offset];
    case DType::i64: return double(static_cast<const int64_t*>(v.data)[offset]);
    case DType::u32: return static_cast<const uint32_t*>(v.data)[offset];
    case DType::u8: return static_cast<const uint8_t*>(v.data)[offset];
  }
  return 0;
}

void set(const View& v, int64_t offset, double value) {
  switch (v.dtype) {
    case DType::f32: static_cast<float*>(v.data)[offset] = float(value); return;
    case DType::bf16: static_cast<bf16*>(v.data)[offset] = to_bf16(float(value)); return;
    case DType::f64: static_cast<double*>(v.data)[offset] = value; return;
    case DType::i32: static_cast<int32_t*>(v.data)[offset] = int32_t(value); return;
    case DType::i64: static_cast<int64_t*>(v.data)[offset] = int64_t(value); return;
    case DType::u32: static_cast<uint32_t*>(v.data)[offset] = uint32_t(value); return;
    case DType::u8: static_cast<uint8_t*>(v.data)[offset] = uint8_t(value); return;
  }
}

void fill(const View& v, const Input& input, std::string_view id, std::string_view field, uint64_t seed) {
  Stream random{key_of(id, field) ^ mix(seed)};
  size_t turn = 0;
  for_elements(v, [&](int64_t offset) {
    double value = 0;
    switch (input.fill) {
      case Fill::normal: value = input.a + input.b * random.normal(); break;
      case Fill::uniform: value = input.a + (input.b - input.a) * random.uniform(); break;
      case Fill::integers: value = input.a + std::floor((input.b - input.a + 1) * random.uniform()); break;
      case Fill::values: value = input.list[turn++ % input.list.size()]; break;
      case Fill::adversarial: {
        const double kind = random.uniform();
        const double magnitude = std::ldexp(1 + random.uniform(), int(random.uniform() * 40) - 20);
        value = kind < 0.05 ? 0.0 : kind < 0.1 ? -0.0 : kind < 0.2 ? 1.0 : kind < 0.6 ? magnitude : -magnitude;
        break;
      }
    }
    set(v, offset, value);
  });
}

GuardedTensor to_double(const View& v) {
  GuardedTensor t({is_floating(v.dtype) ? DType::f64 : v.dtype, v.sizes});
  int64_t i = 0;
  for_elements(v, [&](int64_t offset) { set(t.view(), i++, get(v, offset)); });
  return t;
}

}  // namespace dr::harness
