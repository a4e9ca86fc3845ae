// Elements of a stored array: exact conversion, or a refusal that names the element.

#include "io/array.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/io_files.h"

namespace dr::test {
namespace {

template <class T>
StoredArray stored(const std::vector<T>& values, Element element, std::vector<int64_t> shape) {
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  EXPECT_EQ(stored_bytes(element, shape), bytes.size());
  return {std::make_shared<MappedFile>("f", bytes), "x", element, std::move(shape), false, bytes};
}
template <class T>
StoredArray stored(const std::vector<T>& values, Element element) {
  return stored(values, element, {int64_t(values.size())});
}

// What the 16 bits mean by IEEE 754, with no shared code.
double half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 31 ? (mantissa ? std::nan("") : INFINITY)
                                          : std::ldexp(mantissa + (exponent ? 1024 : 0), std::max(exponent, 1) - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(StoredArray, WidensEveryHalf) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); i++) all[i] = uint16_t(i);
  const StoredArray array = stored(all, Element::f16);
  const std::vector<float> f = array.values<float>();
  const std::vector<double> d = array.values<double>();
  for (size_t i = 0; i < all.size(); i++) {
    const double expected = half(all[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(f[i]) && std::isnan(d[i])) << i;
    } else {
      ASSERT_EQ(double(f[i]), expected) << i;
      ASSERT_EQ(d[i], expected) << i;
    }
    ASSERT_EQ(std::signbit(f[i]), all[i] >= 0x8000) << i;
  }
}

TEST(StoredArray, WidensEveryBf16) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); i++) all[i] = uint16_t(i);
  const std::vector<float> f = stored(all, Element::bf16).values<float>();
  for (size_t i = 0; i < all.size(); i++) ASSERT_EQ(std::bit_cast<uint32_t>(f[i]), uint32_t(i) << 16);
}

TEST(StoredArray, ConvertsExactlyOrNotAtAll) {
  using I = std::vector<int64_t>;
  EXPECT_EQ(stored(I{-3, int64_t{1} << 53}, Element::i64).values<double>(), (std::vector<double>{-3, 0x1p53}));
  EXPECT_EQ(error_of([] {
              stored(I{0, (int64_t{1} << 53) + 1}, Element::i64).values<double>();
            }),
            "f: x: element 1 is 9007199254740993, which f64 cannot hold exactly");
  EXPECT_EQ(stored(I{INT64_MIN}, Element::i64).values<double>()[0], -0x1p63);
  error_of([] { stored(I{INT64_MAX}, Element::i64).values<double>(); });
  error_of([] { stored(std::vector<uint64_t>{UINT64_MAX}, Element::u64).values<double>(); });
  error_of([] { stored(std::vector<uint64_t>{UINT64_MAX}, Element::u64).values<int64_t>(); });
  error_of([] { stored(I{-1}, Element::i64).values<uint32_t>(); });
  error_of([] { stored(I{256}, Element::i64).values<uint8_t>(); });
  EXPECT_EQ(stored(std::vector<int8_t>{-128, 127}, Element::i8).values<int32_t>(), (std::vector<int32_t>{-128, 127}));
  EXPECT_EQ(stored(std::vector<uint8_t>{0, 1, 7}, Element::boolean).values<uint8_t>(), (std::vector<uint8_t>{0, 1, 1}));

  using D = std::vector<double>;
  const D good = {0.5, -INFINITY, std::numeric_limits<float>::max(), 0x1p-149};
  EXPECT_EQ(stored(good, Element::f64).values<float>(), std::vector<float>(good.begin(), good.end()));
  EXPECT_TRUE(std::isnan(stored(D{std::nan("")}, Element::f64).values<float>()[0]));
  for (double bad : {0.1, 1e39, -1e300, 0x1p-150}) error_of([&] { stored(D{bad}, Element::f64).values<float>(); });
  EXPECT_EQ(stored(D{-2147483648.0, 2147483647.0}, Element::f64).values<int32_t>(),
            (std::vector<int32_t>{INT32_MIN, INT32_MAX}));
  for (double bad : {0.5, 2147483648.0, -2147483649.0, 1e300, double(INFINITY), std::nan("")})
    error_of([&] { stored(D{bad}, Element::f64).values<int32_t>(); });
  for (double bad : {0x1p63, -0x1.1p63}) error_of([&] { stored(D{bad}, Element::f64).values<int64_t>(); });
}

TEST(StoredArray, TurnsColumnMajorIntoRowMajor) {
  const std::vector<double> columns = {0, 10, 1, 11, 2, 12};  // element (r,c) is 10 r + c
  StoredArray a = stored(columns, Element::f64, {2, 3});
  a.column_major = true;
  EXPECT_EQ(a.values<double>(), (std::vector<double>{0, 1, 2, 10, 11, 12}));
  EXPECT_EQ(a.values<float>(), (std::vector<float>{0, 1, 2, 10, 11, 12}));
  EXPECT_TRUE(holds(error_of([&] { a.view(); }), "column-major"));
  const std::vector<double> nothing;
  StoredArray none = stored(nothing, Element::f64, {3, 0, 2});
  none.column_major = true;
  EXPECT_TRUE(none.values<double>().empty());
}

TEST(StoredArray, CopiesIntoATensorOfTheSameShape) {
  const std::vector<uint16_t> half_one_two = {0x3c00, 0x4000};
  const StoredArray a = stored(half_one_two, Element::f16, {1, 2});
  std::vector<float> f(2);
  a.copy_to(View(f.data(), DType::f32, {1, 2}));
  EXPECT_EQ(f, (std::vector<float>{1, 2}));
  EXPECT_TRUE(holds(error_of([&] { a.copy_to(View(f.data(), DType::f32, {2})); }), "f: x: has shape (1,2)"));
  std::vector<bf16> b(2);
  EXPECT_EQ(error_of([&] { a.copy_to(View(b.data(), DType::bf16, {1, 2})); }), "f: x: holds f16; expected bf16");
}

TEST(StoredArray, SizesThatDoNotFit) {
  EXPECT_EQ(stored_bytes(Element::f32, {3, 5}), 60u);
  EXPECT_EQ(stored_bytes(Element::f4, {2, 5}), 5u);
  EXPECT_EQ(stored_bytes(Element::f4, {3}), std::nullopt);
  EXPECT_EQ(stored_bytes(Element::f64, {0, INT64_MAX / 64}), 0u);
  EXPECT_EQ(stored_bytes(Element::f64, {0, INT64_MAX, INT64_MAX}), std::nullopt);
  EXPECT_EQ(stored_bytes(Element::f64, {INT64_MAX / 32}), std::nullopt);
  const std::vector<float> one = {1};
  const StoredArray a = stored(one, Element::f32, {1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(error_of([&] { a.view(); }), "f: x: has 7 axes; accepted: up to 6");
}

}  // namespace
}  // namespace dr::test
