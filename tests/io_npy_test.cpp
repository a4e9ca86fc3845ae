// .npy: round trips, NumPy's own headers, and what is refused.

#include "io/npy.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "runtime/runtime.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

// A file of the given version round a header, padded as NumPy does.
std::string file_of(std::string header, std::string_view data, int major = 1) {
  header += '\n';
  std::string s = "\x93NUMPY";
  s += char(major);
  s += '\0';
  const uint32_t n = uint32_t(header.size());
  s.append(reinterpret_cast<const char*>(&n), major == 1 ? 2 : 4);
  return s + header + std::string(data);
}
std::string header_of(std::string_view descr, std::string_view shape, std::string_view order = "False") {
  return format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", descr, order, shape);
}
StoredArray parse(std::string_view bytes) { return parse_npy(in_memory(bytes)); }
std::string refused(std::string_view bytes) {
  return error_of([&] { parse(bytes); });
}
std::string refused_header(const std::string& header, std::string_view data = "12345678") {
  return refused(file_of(header, data));
}

TEST(Npy, RoundTrip) {
  Folder folder;
  const auto round_trip = [&]<class T>(std::vector<T> values, const Sizes& sizes) {
    const View v(values.data(), dtype_of<T>, sizes);
    write_npy(folder.file("a"), v);
    const StoredArray a = read_npy(folder.file("a"));
    EXPECT_EQ(a.view().dtype, v.dtype);
    EXPECT_EQ(a.view().sizes, sizes);
    EXPECT_EQ(a.bytes, std::string_view(reinterpret_cast<const char*>(values.data()), v.bytes()));
    EXPECT_EQ((a.bytes.data() - a.file->bytes().data()) % 64, 0);
  };
  round_trip(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  round_trip(std::vector<double>{0.1}, {1});
  round_trip(std::vector<int32_t>{-1, 1}, {1, 2, 1, 1, 1, 1});
  round_trip(std::vector<int64_t>{INT64_MIN}, {1, 1});
  round_trip(std::vector<uint32_t>{1u << 31, 7}, {2});
  round_trip(std::vector<uint8_t>{255, 0, 1}, {3});
  round_trip(std::vector<float>{}, {0, 4});
  std::vector<bf16> b(1);
  EXPECT_TRUE(
      holds(error_of([&] { write_npy(folder.file("b"), View(b.data(), DType::bf16, {1})); }), "NumPy has no bf16"));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

TEST(Npy, WritesTheHeaderThatNumpyWrites) {
  Folder folder;
  std::vector<float> v(6);
  write_npy(folder.file("a"), View(v.data(), DType::f32, {2, 3}));
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  EXPECT_EQ(folder.read("a").substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(folder.read("a").substr(10, 118), header + std::string(117 - header.size(), ' ') + "\n");
  write_npy(folder.file("a"), View(v.data(), DType::f32, {6}));
  EXPECT_EQ(folder.read("a").substr(51, 13), "'shape': (6,)");
}

TEST(Npy, WritesAStridedView) {
  Folder folder;
  Runtime runtime({.threads = 1});
  const Tensor t = runtime.from(std::vector<float>{0, 1, 2, 3, 4, 5}, {2, 3}).slice(1, 1, 2);
  write_npy(folder.file("a"), t);
  EXPECT_EQ(read_npy(folder.file("a")).values<float>(), (std::vector<float>{1, 2, 4, 5}));
}

TEST(Npy, ReadsEveryVersionAndSpelling) {
  const std::string four("\x01\x02\x03\x04", 4);
  for (int major : {1, 2, 3})
    EXPECT_EQ(parse(file_of(header_of("|u1", "(2, 2)"), four, major)).values<uint8_t>(),
              (std::vector<uint8_t>{1, 2, 3, 4}));
  EXPECT_EQ(parse(file_of("{\"shape\":(2L,2L),\"descr\":\"|u1\",\"fortran_order\":False}", four)).shape,
            (std::vector<int64_t>{2, 2}));  // Python 2
  EXPECT_EQ(parse(file_of(header_of("<i4", "()"), four)).values<int32_t>()[0], 0x04030201);
  EXPECT_EQ(parse(file_of(header_of("|u1", "(2, 2)", "True"), four)).values<uint8_t>(),
            (std::vector<uint8_t>{1, 3, 2, 4}));
  EXPECT_EQ(parse(file_of(header_of("<f2", "(2,)"), four)).element, Element::f16);
  EXPECT_EQ(parse(file_of(header_of("|b1", "(4,)"), four)).values<uint8_t>(), (std::vector<uint8_t>{1, 1, 1, 1}));
}

TEST(Npy, ReadsComma2k19) {
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data || !std::filesystem::exists(std::string(data) + "/comma2k19"))
    GTEST_SKIP() << "DREAMROAD_DATA names no folder with comma2k19";
  const std::string segment = std::string(data) + "/comma2k19/";
  EXPECT_EQ(read_npy(segment + "global_pose/frame_positions").sizes(), (Sizes{1200, 3}));
  EXPECT_EQ(read_npy(segment + "global_pose/frame_orientations").view().dtype, DType::f64);
  const StoredArray imu = read_npy(segment + "processed_log/IMU/accelerometer/value");
  EXPECT_TRUE(imu.column_major);
  const std::vector<double> v = imu.values<double>();
  double gravity = 0;  // the third axis looks down
  for (size_t i = 0; i < v.size(); i += 3) gravity += v[i] * v[i] + v[i + 1] * v[i + 1] + v[i + 2] * v[i + 2];
  EXPECT_NEAR(gravity / double(v.size() / 3), 9.81 * 9.81, 3);
}

TEST(Npy, RefusesPicklesUnderAnyName) {
  EXPECT_EQ(refused(std::string_view("\x80\x04\x95\x10\0\0\0", 7)),
            "f: is a Python pickle, not a .npy file; a pickle runs code when it is loaded and is never read");
  EXPECT_TRUE(holds(refused("\x80\x02]q"), "is a Python pickle"));
  EXPECT_TRUE(holds(refused_header(header_of("|O", "(1,)")), "holds Python objects as a pickle"));
  EXPECT_TRUE(
      holds(refused_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), "holds records"));
  EXPECT_TRUE(holds(refused("PK\x03\x04more"), "is an archive (.npz?)"));
  EXPECT_TRUE(holds(refused("text"), "does not begin with \\x93NUMPY"));
  EXPECT_TRUE(holds(refused(""), "does not begin with \\x93NUMPY"));
}

TEST(Npy, RefusesWhatItsLengthContradicts) {
  const std::string good = file_of(header_of("<f4", "(2,)"), "12345678");
  EXPECT_EQ(parse(good).bytes, "12345678");
  for (size_t n = 0; n < good.size(); n++) refused(std::string_view(good).substr(0, n));
  EXPECT_TRUE(holds(refused(good + "x"), "f: f32(2) takes 8 bytes, the file holds 9 after its header"));
  EXPECT_TRUE(holds(refused(std::string_view(good).substr(0, good.size() - 1)), "is it cut short?"));
  std::string long_header = file_of(header_of("<f4", "(2,)"), "12345678", 2);
  std::memcpy(long_header.data() + 8, "\xff\xff\xff\xff", 4);
  EXPECT_EQ(refused(long_header), "f: a header of 4294967295 bytes; accepted: up to 10000");
  std::string version = good;
  version[6] = 4;
  EXPECT_EQ(refused(version), "f: format version 4.0; accepted: 1.0, 2.0, 3.0");
  for (const char* shape : {"(9223372036854775807, 2)", "(9223372036854775808,)", "(4294967296, 4294967296)",
                            "(99999999999999999999999,)", "(4294967296, 4294967296, 0)"})
    refused_header(header_of("<f4", shape), "");
}

TEST(Npy, RefusesBadHeaders) {
  EXPECT_TRUE(holds(refused_header(header_of(">f4", "(2,)")), "holds big-endian values ('>f4')"));
  EXPECT_TRUE(
      holds(refused_header(header_of("<M8[ns]", "(1,)")), "holds elements of type '<M8[ns]'; accepted: <f8 <f4"));
  EXPECT_TRUE(holds(refused_header(header_of("<U4", "(1,)")), "holds elements of type '<U4'"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(-2,)")), "expected a whole number, found '-2,)"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(2)")), "expected ','"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(2.0,)")), "expected"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "[2]")), "expected '('"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(2,)", "false")), "expected True or False"));
  EXPECT_TRUE(holds(refused_header("{'descr': '<f4', 'shape': (2,)}"), "fortran_order is missing"));
  EXPECT_TRUE(holds(refused_header("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}"), "descr stands twice"));
  EXPECT_TRUE(holds(refused_header("{'dtype': '<f4'}"),
                    "unknown key 'dtype' in the header; accepted: descr, fortran_order, shape"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(2,)") + " __import__('os')"), "expected the end of the header"));
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(" + std::string(70 * 2, '1') + ")")), "too long"));
  std::string axes;
  for (int i = 0; i < 65; i++) axes += "1,";
  EXPECT_TRUE(holds(refused_header(header_of("<f4", "(" + axes + ")")), "more than 64 axes"));
  for (const char* header :
       {"", "{", "{}", "{'descr", "{'descr'", "{'descr':", "[]", "None", "{'descr': '<f4' 'shape'"})
    refused_header(header);
}

}  // namespace
}  // namespace dr::test
