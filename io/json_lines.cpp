#include "io/json_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "kernels/core/check.h"

namespace dr {

using nlohmann::json;

constexpr size_t kLineLimit = 16 << 20;

JsonLinesWriter::JsonLinesWriter(std::string path, bool append) : path_(std::move(path)) {
  struct stat info;
  uint64_t keep = 0;
  if (append && stat(path_.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
    const MappedFile old(path_);
    CHECK(old.bytes().empty() || old.bytes()[0] == '{', "{}: is no log of JSON lines and is left as it is", path_);
    keep = old.bytes().rfind('\n') + 1;  // npos + 1 is 0
  }
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const bool opened = file_ >= 0 && fstat(file_, &info) == 0;
  if (!opened || (S_ISREG(info.st_mode) && ftruncate(file_, off_t(keep)) != 0)) {
    const int error = errno;
    if (file_ >= 0) close(file_);
    fail("{}: cannot be written: {}", path_, std::strerror(error));
  }
}

JsonLinesWriter::~JsonLinesWriter() { close(file_); }

void JsonLinesWriter::write(const json& object) {
  CHECK(object.is_object(), "{}: a log takes objects, got {}", path_, object.type_name());
  std::string line;
  try {
    line = object.dump() + "\n";
  } catch (const json::exception& e) {
    fail("{}: the record cannot be written: {}", path_, shown(e.what(), 200));
  }
  struct stat info;
  const bool regular = fstat(file_, &info) == 0 && S_ISREG(info.st_mode);
  for (size_t n = 0; n < line.size();) {
    const ssize_t written = ::write(file_, line.data() + n, line.size() - n);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      if (regular && ftruncate(file_, info.st_size) != 0) {
        // The line stays cut; the reader will name it.
      }
      fail("{}: cannot be written: {}", path_, std::strerror(error));
    }
    n += size_t(written);
  }
}

std::vector<json> parse_json_lines(std::string_view bytes, const std::string& name) {
  std::vector<json> records;
  for (size_t line = 1; !bytes.empty(); line++) {
    const size_t end = bytes.find('\n');
    CHECK(end != bytes.npos, "{}:{}: the last line is cut short", name, line);
    CHECK(end <= kLineLimit, "{}:{}: a line of {}; accepted: up to {}", name, line, byte_count(end),
          byte_count(kLineLimit));
    records.push_back(parse_json(bytes.substr(0, end), format("{}:{}", name, line)));
    CHECK(records.back().is_object(), "{}:{}: is {}; expected an object", name, line, records.back().type_name());
    bytes.remove_prefix(end + 1);
  }
  return records;
}

std::vector<json> read_json_lines(const std::string& path) { return parse_json_lines(MappedFile(path).bytes(), path); }

}  // namespace dr
