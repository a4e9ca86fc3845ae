// Files exchanged with Python, both ways. The Python half is tests/io_python_test.sh.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

#include "io/npy.h"
#include "io/safetensors.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

template <class T>
std::vector<T> ramp(int64_t n) {
  std::vector<T> v;
  for (int64_t i = 0; i < n; i++) v.push_back(T(i * 3 - 4));
  return v;
}

class Files {
 public:
  template <class T>
  void add(const std::string& name, const Sizes& sizes) {
    std::vector<T> values = ramp<T>(sizes.count());
    kept_.push_back(std::make_shared<std::vector<T>>(std::move(values)));
    list.push_back({name, View(std::static_pointer_cast<std::vector<T>>(kept_.back())->data(), dtype_of<T>, sizes)});
  }
  std::vector<NamedView> list;

 private:
  std::vector<std::shared_ptr<void>> kept_;
};

// Writes our files, and has Python check them and add its own. Returns the script's exit code; 77: no such Python.
int exchange(const Folder& folder, const char* how) {
  Files files;
  files.add<uint8_t>("u8", {7});
  files.add<float>("f32", {2, 3});
  files.add<double>("f64", {5});
  files.add<int32_t>("i32", {4, 1, 2});
  files.add<int64_t>("i64", {3});
  files.add<uint32_t>("u32", {3});
  files.add<float>("empty", {0, 3});
  std::vector<bf16> half;
  for (float v : ramp<float>(6)) half.push_back(to_bf16(v));
  files.list.push_back({"bf16", View(half.data(), DType::bf16, {6})});
  write_safetensors(folder.file("ours.safetensors"), files.list, {{"step", "12"}, {"n\xc3\xa4me", "line\n\"quoted\""}});
  Files npy;
  npy.add<float>("float32", {3, 4}), npy.add<double>("float64", {3, 4}), npy.add<int32_t>("int32", {3, 4});
  npy.add<int64_t>("int64", {3, 4}), npy.add<uint32_t>("uint32", {3, 4}), npy.add<uint8_t>("uint8", {3, 4});
  for (const NamedView& a : npy.list) write_npy(folder.file("ours_" + a.name + ".npy"), a.view);

  const int status = std::system(format("tests/io_python_test.sh {} {}", folder.path(), how).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define NEEDS_SCRIPT() \
  if (!std::filesystem::exists("tests/io_python_test.sh")) GTEST_SKIP() << "tests/ is not here: run from the repository's root"

TEST(Python, ItsStandardLibraryAgreesOnBothFormats) {
  NEEDS_SCRIPT();
  Folder folder;
  const int code = exchange(folder, "plain");
  if (code == 77) GTEST_SKIP() << "no Python";
  ASSERT_EQ(code, 0) << "Python refuses what we wrote";
  const SafeTensors theirs(folder.file("theirs.safetensors"));
  EXPECT_EQ(theirs.metadata(), (Metadata{{"key", "\xe2\x82\xac"}}));
  EXPECT_EQ(theirs.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(theirs.at("a").values<float>(), ramp<float>(6));
  EXPECT_EQ(theirs.at("\xc3\xa4").values<int64_t>(), ramp<int64_t>(3));
  EXPECT_EQ(read_npy(folder.file("theirs.npy")).values<float>(), ramp<float>(6));
}

TEST(Python, ReadsOursAndWeReadTheirs) {
  NEEDS_SCRIPT();
  Folder folder;
  const int code = exchange(folder, "");
  if (code == 77) GTEST_SKIP() << "no Python with numpy and safetensors (DREAMROAD_PYTHON names another than python3)";
  ASSERT_EQ(code, 0) << "Python refuses what we wrote";

  const SafeTensors theirs(folder.file("theirs.safetensors"));
  Metadata metadata = theirs.metadata();
  std::sort(metadata.begin(), metadata.end());
  EXPECT_EQ(metadata, (Metadata{{"key", "value"}, {"\xc3\xa4", "\xe2\x82\xac\t"}}));
  EXPECT_EQ(theirs.arrays().size(), 14u);
  const auto check = [&](const StoredArray& a, auto type) {
    using T = decltype(type);
    EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 5})) << a.where();
    const std::vector<double> expected = [] {
      std::vector<double> v;
      for (T x : ramp<T>(10)) v.push_back(double(x));
      return v;
    }();
    if (std::is_same_v<T, uint64_t>)  // -4 is 2^64 - 4, which no double holds
      EXPECT_TRUE(holds(error_of([&] { a.values<double>(); }), "element 0 is 18446744073709551612"));
    else EXPECT_EQ(a.values<double>(), expected) << a.where();
  };
  const auto both = [&](const std::string& name, auto type) {
    check(theirs.at(name), type);
    check(read_npy(folder.file("theirs_" + name + ".npy")), type);
  };
  both("float64", double{}), both("float32", float{}), both("float16", float{}), both("int64", int64_t{});
  both("int32", int32_t{}), both("int16", int16_t{}), both("int8", int8_t{}), both("uint64", uint64_t{});
  both("uint32", uint32_t{}), both("uint16", uint16_t{}), both("uint8", uint8_t{});
  for (const StoredArray& truth : {theirs.at("bool"), read_npy(folder.file("theirs_bool.npy"))})
    EXPECT_EQ(truth.values<uint8_t>(), (std::vector<uint8_t>{1, 0, 1}));
  for (const StoredArray& scalar : {theirs.at("scalar"), read_npy(folder.file("theirs_scalar.npy"))}) {
    EXPECT_TRUE(scalar.shape.empty());
    EXPECT_EQ(scalar.values<double>(), std::vector<double>{7.5});
  }
  EXPECT_EQ(theirs.at("a name with / and \xc3\xa4").shape, (std::vector<int64_t>{0, 4}));
  for (const char* version : {"1", "2", "3"})
    EXPECT_EQ(read_npy(folder.file(std::string("theirs_version") + version + ".npy")).values<int32_t>(),
              ramp<int32_t>(5));
  const StoredArray columns = read_npy(folder.file("theirs_column_major.npy"));
  EXPECT_TRUE(columns.column_major);
  EXPECT_EQ(columns.values<double>(), ramp<double>(24));
  EXPECT_TRUE(holds(error_of([&] { read_npy(folder.file("theirs_object.npy")); }), "holds Python objects as a pickle"));
  EXPECT_TRUE(holds(error_of([&] { read_npy(folder.file("theirs.npz")); }), "is an archive"));
  EXPECT_TRUE(holds(error_of([&] { read_npy(folder.file("renamed_pickle.npy")); }), "is a Python pickle"));
}

}  // namespace
}  // namespace dr::test
