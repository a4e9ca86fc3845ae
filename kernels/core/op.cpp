#include "kernels/core/op.h"

namespace dr {

Input Input::as(DType t) const {
  Input i = *this;
  i.dtype = t;
  return i;
}
Input Input::padded(int64_t elements) const {
  Input i = *this;
  i.pad = elements;
  return i;
}

Input normal(Sizes s, double mean, double deviation) {
  return {s, DType::f32, Fill::normal, mean, deviation, {}, 0};
}
Input uniform(Sizes s, double low, double high) { return {s, DType::f32, Fill::uniform, low, high, {}, 0}; }
Input integers(Sizes s, int64_t low, int64_t high) {
  return {s, DType::i32, Fill::integers, double(low), double(high), {}, 0};
}
Input values(Sizes s, std::vector<double> list) { return {s, DType::f32, Fill::values, 0, 1, std::move(list), 0}; }
Input adversarial(Sizes s) { return {s, DType::f32, Fill::adversarial, 0, 1, {}, 0}; }
Input absent() { return {}; }

void expect_float(const View& v, std::string_view what) {
  CHECK(v.dtype == DType::f32 || v.dtype == DType::bf16 || v.dtype == DType::f64, "{} must be f32 or bf16, got {}",
        what, to_string(v));
}
void expect_sizes(const View& v, const Sizes& sizes, std::string_view what) {
  CHECK(v.sizes == sizes, "{} must have shape {}, got {}", what, to_string(sizes), to_string(v));
}
void expect_f32(const View& v, const Sizes& sizes, std::string_view what) {
  expect_sizes(v, sizes, what);
  CHECK(v.dtype == DType::f32 || v.dtype == DType::f64, "{} must be f32, got {}", what, to_string(v));
}

}  // namespace dr
