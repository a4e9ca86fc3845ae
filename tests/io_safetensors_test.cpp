// .safetensors: round trips, conversion, and every way in which a header can be wrong.

#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/runtime.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

std::string with_header(std::string_view header, size_t data_bytes) {
  const uint64_t n = header.size();
  std::string s(reinterpret_cast<const char*>(&n), 8);
  s += header;
  for (size_t i = 0; i < data_bytes; i++) s += char(i + 1);
  return s;
}

SafeTensors parse(std::string_view bytes) { return SafeTensors(in_memory(bytes)); }
std::string refused(std::string_view bytes) {
  return error_of([&] { parse(bytes); });
}
std::string refused(std::string_view header, size_t data_bytes) { return refused(with_header(header, data_bytes)); }

template <class T>
View view_of(std::vector<T>& values, const Sizes& sizes) {
  return View(values.data(), dtype_of<T>, sizes);
}

TEST(SafeTensors, RoundTrip) {
  Folder folder;
  std::vector<float> f = {1.5f, -0.f, std::nanf(""), 3e38f, 1e-45f, 6};
  std::vector<bf16> b = {{0x3f80}, {0x7fc1}, {0xff80}};
  std::vector<double> d = {0.1};
  std::vector<int64_t> i = {INT64_MIN, INT64_MAX};
  std::vector<int32_t> j = {-1, 2, 3};
  std::vector<uint32_t> u = {0xffffffffu};
  std::vector<uint8_t> c = {0, 127, 255};
  std::vector<float> none;
  const std::vector<NamedView> arrays = {{"bytes", view_of(c, {3})},
                                         {"f", view_of(f, {2, 3})},
                                         {"empty", view_of(none, {0, 7})},
                                         {"d", view_of(d, {1})},
                                         {"h\n\"\xc3\xa9", view_of(b, {3})},
                                         {"i", view_of(i, {1, 2, 1})},
                                         {"j", view_of(j, {3})},
                                         {"u", view_of(u, {1})}};
  const Metadata metadata = {{"step", "12"}, {"note", "a \"quoted\"\nline"}};
  write_safetensors(folder.file("a"), arrays, metadata);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});

  const SafeTensors s(folder.file("a"));
  EXPECT_EQ(s.metadata(), metadata);
  EXPECT_EQ(s.header_bytes() % 64, 0u);
  ASSERT_EQ(s.arrays().size(), arrays.size());
  for (size_t k = 0; k < arrays.size(); k++) {  // in the order given, in place, bit for bit
    const StoredArray& a = s.arrays()[k];
    EXPECT_EQ(a.name, arrays[k].name);
    const View v = a.view();
    EXPECT_EQ(v.dtype, arrays[k].view.dtype);
    EXPECT_EQ(v.sizes, arrays[k].view.sizes);
    ASSERT_EQ(v.bytes(), arrays[k].view.bytes());
    const std::string_view given(static_cast<const char*>(arrays[k].view.data), v.bytes());
    EXPECT_EQ(a.bytes, given) << a.name;
    EXPECT_EQ(&s.at(a.name), &a);
  }
  EXPECT_EQ(s.find("g"), nullptr);
  EXPECT_EQ(error_of([&] { s.at("empt"); }), folder.file("a") + ": holds no array 'empt'; the nearest name is 'empty'");
  // The arrays keep the file mapped.
  const StoredArray kept = SafeTensors(folder.file("a")).at("j");
  EXPECT_EQ(kept.values<int32_t>(), j);
}

TEST(SafeTensors, SameContentSameBytes) {
  Folder folder;
  std::vector<float> f = {1, 2};
  write_safetensors(folder.file("a"), std::vector<NamedView>{{"x", view_of(f, {2})}}, {{"k", "v"}});
  write_safetensors(folder.file("b"), std::vector<NamedView>{{"x", view_of(f, {2})}}, {{"k", "v"}});
  EXPECT_EQ(folder.read("a"), folder.read("b"));
  const std::string header = R"({"__metadata__":{"k":"v"},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(folder.read("a").substr(8, header.size()), header);
}

TEST(SafeTensors, WritesAStridedView) {
  Folder folder;
  Runtime runtime({.threads = 1});
  const Tensor t = runtime.from(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {2, 3, 2});
  write_safetensors(folder.file("a"), std::vector<NamedView>{{"t", t.transpose(0, 1)}, {"s", t.slice(2, 1, 1)}});
  const SafeTensors s(folder.file("a"));
  EXPECT_EQ(s.at("t").values<float>(), t.transpose(0, 1).to_vector<float>());
  EXPECT_EQ(s.at("s").values<float>(), (std::vector<float>{1, 3, 5, 7, 9, 11}));
}

TEST(SafeTensors, EmptyFilesOfTheFormat) {
  EXPECT_TRUE(parse(with_header("{}", 0)).arrays().empty());
  EXPECT_TRUE(parse(with_header("{}      ", 0)).arrays().empty());
  EXPECT_TRUE(parse(with_header(R"({"__metadata__":{}})", 0)).metadata().empty());
  const SafeTensors scalar = parse(with_header(R"({"x":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1));
  EXPECT_TRUE(scalar.at("x").shape.empty());
  EXPECT_EQ(scalar.at("x").sizes(), Sizes{1});
  EXPECT_EQ(scalar.at("x").values<uint8_t>(), std::vector<uint8_t>{1});
}

TEST(SafeTensors, ReadsTypesThatNoTensorHas) {
  const SafeTensors s = parse(with_header(
      R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"b":{"dtype":"BOOL","shape":[2],"data_offsets":[6,8]},)"
      R"("i":{"dtype":"I16","shape":[1],"data_offsets":[8,10]},)"
      R"("q":{"dtype":"F4","shape":[3,2],"data_offsets":[10,13]}})",
      13));
  EXPECT_EQ(s.at("h").values<float>()[0], std::ldexp(0x201, -24));  // bits 0x0201: subnormal
  EXPECT_EQ(s.at("b").values<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(s.at("i").values<double>(), (std::vector<double>{0x0a09}));
  EXPECT_TRUE(holds(error_of([&] { s.at("h").view(); }), "f: h: holds f16, which is no type of a tensor"));
  EXPECT_TRUE(holds(error_of([&] { s.at("q").values<float>(); }), "f: q: holds f4; accepted: "));
}

TEST(SafeTensors, CopiesWhatIsNotAligned) {
  const SafeTensors s = parse(with_header(
      R"({"c":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"f":{"dtype":"F32","shape":[1],"data_offsets":[3,7]},)"
      R"("g":{"dtype":"F32","shape":[1],"data_offsets":[7,11]},"h":{"dtype":"F32","shape":[1],"data_offsets":[11,15]},)"
      R"("i":{"dtype":"F32","shape":[1],"data_offsets":[15,19]}})",
      19));
  int in_place = 0;
  for (const char* name : {"f", "g", "h", "i"}) {  // a step of 4 from an odd byte: none is aligned, or all are
    const StoredArray& a = s.at(name);
    if (reinterpret_cast<uintptr_t>(a.bytes.data()) % 4 == 0) in_place++;
    else EXPECT_TRUE(holds(error_of([&] { a.view(); }), "not aligned"));
    float expected, copied = 0;
    std::memcpy(&expected, a.bytes.data(), 4);
    EXPECT_EQ(a.values<float>()[0], expected);
    a.copy_to(View(&copied, DType::f32, {1}));
    EXPECT_EQ(copied, expected);
  }
  EXPECT_TRUE(in_place == 0 || in_place == 4);
}

TEST(SafeTensors, RefusesADamagedEnvelope) {
  EXPECT_EQ(refused(""), "f: has 0 bytes, too few for a safetensors file");
  EXPECT_EQ(refused("1234567"), "f: has 7 bytes, too few for a safetensors file");
  const std::string good = with_header(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
  for (size_t n = 0; n < good.size(); n++) refused(std::string_view(good).substr(0, n));  // cut short anywhere
  EXPECT_TRUE(holds(refused(std::string_view(good).substr(0, 20)), "the header takes 61 bytes, the file has 20"));
  EXPECT_TRUE(holds(refused(std::string_view(good).substr(0, good.size() - 1)), "is the file cut short?"));
  EXPECT_EQ(refused(good + "x"), "f: the arrays end at byte 4 of the data, the file at 5");
  std::string huge(16, '\xff');
  EXPECT_TRUE(holds(refused(huge), "accepted: up to 100 MB"));
  const uint64_t above = 100'000'001;
  std::memcpy(huge.data(), &above, 8);
  EXPECT_TRUE(holds(refused(huge), "a header of 95.4 MiB; accepted: up to 100 MB"));
  EXPECT_TRUE(holds(refused("[]", 0), "does not begin with '{'"));
  EXPECT_TRUE(holds(refused("", 0), "does not begin with '{'"));
  EXPECT_TRUE(holds(refused(" {}", 0), "does not begin with '{'"));
}

TEST(SafeTensors, RefusesBadJson) {
  EXPECT_TRUE(holds(refused("{}}", 0), "not valid JSON at byte 10"));
  EXPECT_TRUE(holds(refused(R"({"x":)", 0), "not valid JSON"));
  EXPECT_TRUE(holds(refused(std::string_view("{}\0garbage", 10), 0), "a zero byte at 10"));
  EXPECT_TRUE(holds(refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],},})", 1), "not valid JSON"));
  EXPECT_TRUE(holds(refused("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1), "UTF-8"));
  EXPECT_TRUE(holds(refused("{\"\xc0\x80\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1), "UTF-8"));
  refused(R"({"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
  refused("{\"x\":" + std::string(100'000, '['), 0);
  refused("{\"x\":" + std::string(100'000, '{'), 0);
}

TEST(SafeTensors, RefusesKeysThatStandTwice) {
  const std::string x = R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  const std::string y = R"("x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]})";
  EXPECT_EQ(refused("{" + x + "," + y + "}", 2), "f: the name 'x' stands twice in the header");
  EXPECT_EQ(refused(R"({"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
            "f: x: dtype stands twice");
  EXPECT_EQ(refused(R"({"x":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1),
            "f: x: shape stands twice");
  EXPECT_EQ(refused(R"({"__metadata__":{"a":"1","b":"2","a":"1"}})", 0), "f: the name 'a' stands twice in the header");
  EXPECT_EQ(refused(R"({"__metadata__":{},"__metadata__":{}})", 0), "f: __metadata__ stands twice in the header");
}

TEST(SafeTensors, RefusesBadDescriptions) {
  const auto with = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return refused(format(R"({{"x":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets), 8);
  };
  EXPECT_TRUE(holds(with("\"F33\"", "[8]", "[0,8]"), "f: x: unknown dtype 'F33'; accepted: F64, F32"));
  EXPECT_TRUE(holds(with("3", "[8]", "[0,8]"), "f: x: a number in dtype; expected a type's name"));
  EXPECT_TRUE(holds(with("null", "[8]", "[0,8]"), "f: x: null in dtype"));
  EXPECT_TRUE(holds(with("[\"U8\"]", "[8]", "[0,8]"), "f: x: a list in dtype"));
  EXPECT_TRUE(holds(with("\"U8\"", "8", "[0,8]"), "f: x: a number in shape; expected a list of whole numbers from 0"));
  EXPECT_TRUE(holds(with("\"U8\"", "[[8]]", "[0,8]"), "f: x: a list in shape"));
  EXPECT_TRUE(holds(with("\"U8\"", "[-8]", "[0,8]"), "f: x: the number -8 in shape"));
  EXPECT_TRUE(holds(with("\"U8\"", "[8.0]", "[0,8]"), "f: x: the number 8.0 in shape"));
  EXPECT_TRUE(holds(with("\"U8\"", "[1e1]", "[0,8]"), "f: x: the number 1e1 in shape"));
  EXPECT_TRUE(holds(with("\"U8\"", "[18446744073709551616]", "[0,8]"), "f: x: the number 18446744073709551616"));
  EXPECT_TRUE(holds(with("\"U8\"", "[\"8\"]", "[0,8]"), "f: x: a string in shape"));
  EXPECT_TRUE(holds(with("\"U8\"", "[8]", "[0]"), "f: x: data_offsets has 1 numbers; expected two"));
  EXPECT_TRUE(holds(with("\"U8\"", "[8]", "[0,8,8]"), "f: x: data_offsets has more than two numbers"));
  EXPECT_TRUE(holds(with("\"U8\"", "[8]", "{}"), "f: x: an object in data_offsets"));
  EXPECT_TRUE(holds(with("\"U8\"", "[7]", "[0,8]"), "f: x: u8(7) takes 7 bytes, data_offsets give it 8"));
  EXPECT_TRUE(holds(with("\"F4\"", "[15]", "[0,8]"), "f: x: f4(15) has no size that fits"));
  EXPECT_TRUE(holds(refused(R"({"x":{"dtype":"U8","shape":[1]}})", 1), "f: x: data_offsets is missing"));
  EXPECT_TRUE(holds(refused(R"({"x":{}})", 0), "f: x: dtype is missing"));
  EXPECT_TRUE(
      holds(refused(R"({"x":{"type":"U8"}})", 0), "f: x: unknown key 'type'; accepted: dtype, shape, data_offsets"));
  EXPECT_TRUE(holds(refused(R"({"x":7})", 0), "f: x: is described by a number"));
  EXPECT_TRUE(holds(refused(R"({"x":[]})", 0), "f: x: is described by a list"));
  EXPECT_TRUE(holds(refused(R"({"__metadata__":{"a":1}})", 0), "f: __metadata__ holds a number; expected texts"));
  EXPECT_TRUE(holds(refused(R"({"__metadata__":{"a":{}}})", 0), "f: __metadata__ holds an object"));
  EXPECT_TRUE(holds(refused(R"({"__metadata__":"a"})", 0), "f: __metadata__ holds a string"));
  std::string axes = "1";
  for (int i = 0; i < 64; i++) axes += ",1";
  EXPECT_TRUE(holds(with("\"U8\"", "[" + axes + "]", "[0,1]"), "f: x: more than 64 axes"));
}

TEST(SafeTensors, RefusesSizesThatOverflow) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[9223372036854775807,2]", "[9223372036854775808]", "[18446744073709551615]",
        "[2305843009213693952,8]", "[4294967296,4294967296,0]", "[0,4294967296,4294967296]"}) {
    refused(format(R"({{"x":{{"dtype":"U8","shape":{},"data_offsets":[0,0]}}}})", shape), 0);
    refused(format(R"({{"x":{{"dtype":"F64","shape":{},"data_offsets":[0,0]}}}})", shape), 0);
  }
  EXPECT_TRUE(holds(refused(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 1),
                    "f: x: lies at bytes 18446744073709551615 to 0 of the data"));
}

TEST(SafeTensors, RefusesOverlapsAndGaps) {
  const auto two = [](int b0, int e0, int b1, int e1, size_t bytes) {
    return refused(format(R"({{"x":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},)"
                          R"("y":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                          e0 - b0, b0, e0, e1 - b1, b1, e1),
                   bytes);
  };
  EXPECT_TRUE(
      holds(two(0, 4, 3, 8, 8), "f: y: begins at byte 3 of the data, inside the array before it, which ends at 4"));
  EXPECT_TRUE(holds(two(0, 4, 0, 8, 8), "inside the array before it"));
  EXPECT_TRUE(holds(two(4, 8, 0, 5, 8), "f: x: begins at byte 4"));
  EXPECT_TRUE(holds(two(0, 4, 5, 8, 8), "f: y: begins at byte 5 of the data; bytes 4 to 5 belong to no array"));
  EXPECT_TRUE(holds(two(1, 4, 4, 8, 8), "bytes 0 to 1 belong to no array"));
  EXPECT_TRUE(holds(two(0, 4, 4, 7, 8), "the arrays end at byte 7 of the data, the file at 8"));
  EXPECT_TRUE(holds(two(0, 4, 4, 9, 8), "is the file cut short?"));
  const SafeTensors reversed = parse(with_header(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
                                                 R"("y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                                 2));
  EXPECT_EQ(reversed.at("x").values<uint8_t>()[0], 2);
}

TEST(SafeTensors, AFlippedBitOfTheHeaderIsRefusedOrChangesNoData) {
  Folder folder;
  std::vector<float> f = {1, 2, 3, 4};
  write_safetensors(folder.file("a"),
                    std::vector<NamedView>{{"weight", view_of(f, {2, 2})}, {"bias", view_of(f, {4})}});
  std::string bytes = folder.read("a");
  const size_t header = size_t(SafeTensors(folder.file("a")).header_bytes());
  int refusals = 0;
  for (size_t i = 0; i < 8 * header; i++) {
    bytes[i / 8] = char(bytes[i / 8] ^ 1 << i % 8);
    try {
      parse(bytes);
    } catch (const Error&) {
      refusals++;
    }
    bytes[i / 8] = char(bytes[i / 8] ^ 1 << i % 8);
  }
  EXPECT_GT(refusals, int(8 * header) / 2);
}

TEST(SafeTensors, WriterRefusesWhatNoReaderTakes) {
  Folder folder;
  std::vector<float> f = {1};
  const View v = view_of(f, {1});
  const auto refused_to_write = [&](const std::vector<NamedView>& arrays, const Metadata& metadata = {}) {
    return error_of([&] { write_safetensors(folder.file("a"), arrays, metadata); });
  };
  EXPECT_TRUE(holds(refused_to_write({{"x", v}, {"x", v}}), "the name 'x' stands twice"));
  EXPECT_TRUE(holds(refused_to_write({{"\xff", v}}), "is not UTF-8"));
  EXPECT_TRUE(holds(refused_to_write({{"__metadata__", v}}), "cannot be written"));
  EXPECT_TRUE(holds(refused_to_write({{"x", {}}}), "cannot be written"));
  EXPECT_TRUE(holds(refused_to_write({}, {{"a", ""}, {"a", ""}}), "the name 'a' stands twice"));
  EXPECT_TRUE(folder.names().empty());
}

}  // namespace
}  // namespace dr::test
