#pragma once
// What the tests of readers and writers share: a folder of their own, and the line that a bad input gives.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "kernels/core/check.h"

namespace dr::test {

// Made empty, removed with everything in it.
class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "dreamroad_io_XXXXXX";
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(file(name), std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
    return file(name);
  }
  std::string read(const std::string& name) const {
    std::ifstream f(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(f), {}};
  }
  std::vector<std::string> names() const { return names_in(path_); }
  static std::vector<std::string> names_in(const std::string& folder) {  // sorted
    std::vector<std::string> list;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) list.push_back(entry.path().filename());
    std::sort(list.begin(), list.end());
    return list;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Bytes as a file called "f" that lives as long as anything read from it.
inline FileBytes in_memory(std::string_view bytes) {
  struct Owned {
    explicit Owned(std::string_view b) : bytes(b), file("f", bytes) {}
    std::string bytes;
    MappedFile file;
  };
  const auto owned = std::make_shared<Owned>(bytes);
  return {owned, &owned->file};
}

// The message of the dr::Error that f throws. Any other exception, or none, fails the test; so does a second line.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

inline testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != text.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << part << "' is not in: " << text;
}

}  // namespace dr::test
