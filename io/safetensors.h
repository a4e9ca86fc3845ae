#pragma once
// .safetensors: named arrays, as the Python library of that name reads and writes them.
//   u64 n, little-endian | n bytes of JSON, padded with spaces | the arrays' bytes
//   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ...}
// Source: github.com/huggingface/safetensors, README.md "Format".

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/array.h"

namespace dr {

using Metadata = std::vector<std::pair<std::string, std::string>>;

class SafeTensors {
 public:
  // Reads and checks the header alone; the arrays' bytes are mapped, so a file of many gigabytes opens at once.
  // Refused: a header above 100 MB or past the end of the file, JSON that is not UTF-8 or names a key twice, unknown
  // keys or types, shapes whose size overflows or differs from their bytes, and bytes that overlap, leave a gap or do
  // not end where the file ends.
  explicit SafeTensors(const std::string& path) : SafeTensors(std::make_shared<MappedFile>(path)) {}
  explicit SafeTensors(FileBytes file);

  const std::vector<StoredArray>& arrays() const { return arrays_; }  // in the order of the header
  const Metadata& metadata() const { return metadata_; }
  uint64_t header_bytes() const { return header_bytes_; }

  const StoredArray* find(std::string_view name) const;  // null if there is none
  const StoredArray& at(std::string_view name) const;    // throws, naming the nearest

 private:
  FileBytes file_;
  std::vector<StoredArray> arrays_;
  Metadata metadata_;
  std::vector<size_t> by_name_;
  uint64_t header_bytes_ = 0;
};

// From the first bytes alone.
bool is_safetensors(std::string_view bytes);

struct NamedView {
  std::string name;
  View view;  // of host memory; any strides
};

// The header lists the arrays as given. Their bytes follow widest elements first, then as given, the first at a
// multiple of 64, so that each can be used in place.
void write_safetensors(const std::string& path, std::span<const NamedView> arrays, const Metadata& metadata = {});

}  // namespace dr
