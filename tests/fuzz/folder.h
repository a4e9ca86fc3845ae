#pragma once
// A folder for readers that take one: empty at first, gone when the process ends.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

namespace dr::fuzz {

struct TemporaryFolder {
  TemporaryFolder() {
    // In memory where the system has such a place: a target writes its files anew for every input.
    std::string name = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/dreamroad_fuzz_XXXXXX");
    if (!mkdtemp(name.data())) std::abort();
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

// In place and without the care of the program's own writers, which wait for the disk.
inline void overwrite(const std::string& path, std::string_view bytes) {
  if (std::FILE* f = std::fopen(path.c_str(), "wb")) {
    std::fwrite(bytes.data(), 1, bytes.size(), f);
    std::fclose(f);
  }
}

}  // namespace dr::fuzz
