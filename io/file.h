#pragma once
// Files as bytes: read whole, mapped, or written so that nobody ever sees half of one. Each failure is one line: the
// path and why.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace dr {

// All bytes of a file or a pipe. Throws where there are more than `limit_bytes`, before taking memory for them.
std::string read_file(const std::string& path, uint64_t limit_bytes);

// The bytes of a file in the address space; the system reads what is touched. Writers below replace a file and never
// shorten it, so a mapping stays whole; if another program cuts the file meanwhile, touching it ends the process.
class MappedFile {
 public:
  explicit MappedFile(std::string path);
  // Bytes that are in memory already and outlive this; the name is for messages.
  MappedFile(std::string name, std::string_view bytes) : path_(std::move(name)), bytes_(bytes) {}
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string path_;
  std::string_view bytes_;
  bool mapped_ = false;
};
using FileBytes = std::shared_ptr<const MappedFile>;

// Collects bytes in a temporary file beside `path`; commit() makes it the file, all at once and safe on disk. Without
// commit(), or when a write fails, whatever was under `path` before stays and the temporary goes. A link is followed; a
// device, a pipe or the program's own output is written to directly.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void seek(uint64_t byte);  // where the next write begins; what lies there is written over. Throws for a pipe
  void commit();

 private:
  [[noreturn]] void abandon(int error);

  std::string path_, target_, temporary_;  // temporary_ is empty for a direct write
  std::FILE* file_ = nullptr;
};

void write_file(const std::string& path, std::string_view bytes);

// With its parents; that it exists already is fine.
void create_folder(const std::string& path);

}  // namespace dr
