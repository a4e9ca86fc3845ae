#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "io/text.h"
#include "kernels/core/check.h"

namespace dr {
namespace {

[[noreturn]] void cannot(const std::string& path, std::string_view what, int error) {
  fail("{}: cannot be {}: {}", path, what, std::strerror(error));
}

// A descriptor that is closed on every way out.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

Descriptor open_to_read(const std::string& path, struct stat& info) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0 || fstat(file.fd, &info) != 0) cannot(path, "read", errno);
  CHECK(!S_ISDIR(info.st_mode), "{}: is a folder, not a file", path);
  return file;
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// The descriptor through which the program prints to this file, or -1. A second one would not share its position, and
// what the two write would lie on each other.
int own_output(const struct stat& info) {
  struct stat own;
  for (int fd : {STDOUT_FILENO, STDERR_FILENO})
    if (fstat(fd, &own) == 0 && own.st_dev == info.st_dev && own.st_ino == info.st_ino) return fd;
  return -1;
}

}  // namespace

std::string read_file(const std::string& path, uint64_t limit_bytes) {
  struct stat info;
  const Descriptor file = open_to_read(path, info);
  const uint64_t expected = S_ISREG(info.st_mode) ? uint64_t(info.st_size) : 0;
  CHECK(expected <= limit_bytes, "{}: has {}; accepted: up to {}", path, byte_count(expected), byte_count(limit_bytes));
  std::string bytes(size_t(expected) + 1, '\0');
  size_t n = 0;
  for (;;) {  // past the expected end too: a pipe has no size, and some files of the system claim none
    if (n == bytes.size()) bytes.resize(n + (1 << 16));
    const ssize_t got = ::read(file.fd, bytes.data() + n, bytes.size() - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannot(path, "read", errno);
    if (got == 0) break;
    n += size_t(got);
    CHECK(n <= limit_bytes, "{}: has more than {}, the most that is accepted", path, byte_count(limit_bytes));
  }
  bytes.resize(n);
  return bytes;
}

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  struct stat info;
  const Descriptor file = open_to_read(path_, info);
  CHECK(S_ISREG(info.st_mode), "{}: is not a regular file", path_);
  if (info.st_size == 0) return;
  void* p = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (p == MAP_FAILED) cannot(path_, "mapped", errno);
  mapped_ = true;
  bytes_ = {static_cast<const char*>(p), size_t(info.st_size)};
}

MappedFile::~MappedFile() {
  if (mapped_) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {
  struct stat info;
  int fd = -1;
  const bool exists = stat(path_.c_str(), &info) == 0;
  CHECK(!exists || !S_ISDIR(info.st_mode), "{}: is a folder; accepted: the name of a file", path_);
  const int own = exists ? own_output(info) : -1;
  if (own >= 0) {
    std::fflush(stdout);
    fd = dup(own);
  } else if (exists && !S_ISREG(info.st_mode)) {
    fd = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    std::error_code ignored;
    if (exists) target_ = std::filesystem::canonical(path_, ignored).string();
    if (target_.empty()) target_ = path_;
    static std::atomic<unsigned> count{0};
    do {
      temporary_ = format("{}.{}.{}.part", target_, getpid(), count++);
      fd = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST);
  }
  if (fd < 0) {
    const int error = errno;
    std::error_code ignored;
    if (const std::string folder = folder_of(target_); error == ENOENT && !std::filesystem::exists(folder, ignored))
      fail("{}: cannot be written: there is no folder '{}'", path_, folder);
    cannot(path_, "written", error);
  }
  file_ = fdopen(fd, "wb");
  if (!file_) {
    close(fd);
    abandon(errno);
  }
  std::setvbuf(file_, nullptr, _IOFBF, 1 << 16);
}

AtomicFile::~AtomicFile() {
  if (file_) std::fclose(file_);
  if (file_ && !temporary_.empty()) std::remove(temporary_.c_str());
}

void AtomicFile::abandon(int error) {
  if (file_) std::fclose(std::exchange(file_, nullptr));
  if (!temporary_.empty()) std::remove(temporary_.c_str());
  cannot(path_, "written", error);
}

void AtomicFile::write(const void* data, size_t bytes) {
  CHECK(file_, "{}: is written no more after a failure or commit()", path_);
  if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) abandon(errno);
}

void AtomicFile::seek(uint64_t byte) {
  CHECK(file_, "{}: is written no more after a failure or commit()", path_);
  if (fseeko(file_, off_t(byte), SEEK_SET) != 0) abandon(errno);
}

void AtomicFile::commit() {
  CHECK(file_, "{}: is written no more after a failure or commit()", path_);
  if (std::fflush(file_) != 0) abandon(errno);
  if (!temporary_.empty() && fsync(fileno(file_)) != 0) abandon(errno);
  if (std::fclose(std::exchange(file_, nullptr)) != 0) abandon(errno);
  if (temporary_.empty()) return;
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) abandon(errno);
  // The new name must reach the disk too. Where the file system cannot do that for a folder, there is no better way.
  const Descriptor folder{open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd >= 0) fsync(folder.fd);
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void create_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  CHECK(!error, "{}: the folder cannot be created: {}", path, error.message());
}

}  // namespace dr
