#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/nearest.h"
#include "io/text.h"
#include "runtime/tensor.h"

namespace dr {
namespace {

using nlohmann::json;

constexpr uint64_t kHeaderLimit = 100'000'000;  // bytes; the reference implementation's
constexpr uint64_t kHeaderAlignment = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

struct TypeName {
  std::string_view name;
  Element element;
};
constexpr TypeName kTypes[] = {
    {"F64", Element::f64},         {"F32", Element::f32},         {"F16", Element::f16},
    {"BF16", Element::bf16},       {"I64", Element::i64},         {"I32", Element::i32},
    {"I16", Element::i16},         {"I8", Element::i8},           {"U64", Element::u64},
    {"U32", Element::u32},         {"U16", Element::u16},         {"U8", Element::u8},
    {"BOOL", Element::boolean},    {"C64", Element::c64},         {"F8_E5M2", Element::f8_e5m2},
    {"F8_E4M3", Element::f8_e4m3}, {"F8_E8M0", Element::f8_e8m0}, {"F6_E2M3", Element::f6_e2m3},
    {"F6_E3M2", Element::f6_e3m2}, {"F4", Element::f4},
};

std::string accepted_types() {
  std::string s;
  for (const TypeName& t : kTypes) s.append(s.empty() ? "" : ", ").append(t.name);
  return s;
}

struct Entry {
  StoredArray array;
  uint64_t begin = 0, end = 0;  // from the first byte after the header
};

// Takes the header's JSON token by token, so that nothing is built but what the format allows. `depth` counts open
// braces and brackets: 1 in the header, 2 in an array's description or the metadata, 3 in a list.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(const FileBytes& file, std::vector<Entry>& entries, Metadata& metadata)
      : file_(file), entries_(entries), metadata_(metadata) {}

  bool start_object(size_t) override {
    if (depth_ >= 2) refuse("an object");
    if (depth_ == 1 && !in_metadata_) seen_ = 0;
    depth_++;
    return true;
  }
  bool key(std::string& text) override {
    if (depth_ == 1) {
      in_metadata_ = text == kMetadataKey;
      if (in_metadata_) {
        CHECK(!had_metadata_, "{}: __metadata__ stands twice in the header", file_->path());
        had_metadata_ = true;
      } else {
        entries_.push_back({});
        entries_.back().array.file = file_;
        entries_.back().array.name = std::move(text);
      }
    } else if (in_metadata_) {
      metadata_.emplace_back(std::move(text), "");
    } else {
      field_ = text == "dtype" ? kDType : text == "shape" ? kShape : text == "data_offsets" ? kOffsets : 0;
      CHECK(field_, "{}: unknown key '{}'; accepted: dtype, shape, data_offsets", where(), shown(text));
      CHECK(!(seen_ & field_), "{}: {} stands twice", where(), text);
      seen_ |= field_;
    }
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ == 2 && in_metadata_) {
      metadata_.back().second = std::move(text);
      return true;
    }
    if (depth_ != 2 || field_ != kDType) refuse("a string");
    const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto& t) { return t.name == text; });
    CHECK(type != std::end(kTypes), "{}: unknown dtype '{}'; accepted: {}", where(), shown(text), accepted_types());
    entries_.back().array.element = type->element;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || field_ == kDType) refuse("a list");
    depth_++;
    numbers_ = 0;
    return true;
  }
  bool number_unsigned(uint64_t n) override {
    if (depth_ != 3) refuse("a number");
    Entry& e = entries_.back();
    if (field_ == kShape) {
      CHECK(n <= uint64_t(std::numeric_limits<int64_t>::max()), "{}: an axis of {} elements", where(), n);
      CHECK(numbers_ < kMaxStoredRank, "{}: more than {} axes", where(), kMaxStoredRank);
      e.array.shape.push_back(int64_t(n));
    } else {
      CHECK(numbers_ < 2, "{}: data_offsets has more than two numbers", where());
      (numbers_ == 0 ? e.begin : e.end) = n;
    }
    numbers_++;
    return true;
  }
  bool end_array() override {
    depth_--;
    CHECK(field_ == kShape || numbers_ == 2, "{}: data_offsets has {} numbers; expected two", where(), numbers_);
    return true;
  }
  bool end_object() override {
    depth_--;
    if (depth_ == 1 && !in_metadata_)
      CHECK(seen_ == (kDType | kShape | kOffsets), "{}: {} is missing", where(),
            !(seen_ & kDType)   ? "dtype"
            : !(seen_ & kShape) ? "shape"
                                : "data_offsets");
    if (depth_ == 1) in_metadata_ = false;
    return true;
  }
  bool number_integer(int64_t n) override { refuse(format("the number {}", n)); }
  bool number_float(double, const std::string& text) override { refuse("the number " + shown(text)); }
  bool boolean(bool v) override { refuse(v ? "true" : "false"); }
  bool null() override { refuse("null"); }
  bool binary(json::binary_t&) override { refuse("binary data"); }
  bool parse_error(size_t position, const std::string&, const json::exception& e) override {
    const std::string_view what = e.what();
    const size_t reason = what.find(": ");
    fail("{}: the header is not valid JSON at byte {}: {}", file_->path(), position + 7,
         shown(reason == what.npos ? what : what.substr(reason + 2), 200));
  }

 private:
  static constexpr unsigned kDType = 1, kShape = 2, kOffsets = 4;

  std::string where() const { return entries_.back().array.where(); }
  [[noreturn]] void refuse(std::string_view what) const {
    if (depth_ == 0) fail("{}: the header is {}; expected an object", file_->path(), what);
    if (in_metadata_) fail("{}: __metadata__ holds {}; expected texts", file_->path(), what);
    if (depth_ == 1) fail("{}: is described by {}; expected dtype, shape and data_offsets", where(), what);
    fail("{}: {} in {}; expected {}", where(), what,
         field_ == kDType   ? "dtype"
         : field_ == kShape ? "shape"
                            : "data_offsets",
         field_ == kDType ? "a type's name" : "a list of whole numbers from 0");
  }

  const FileBytes& file_;
  std::vector<Entry>& entries_;
  Metadata& metadata_;
  int depth_ = 0;
  bool in_metadata_ = false, had_metadata_ = false;
  unsigned field_ = 0, seen_ = 0;
  size_t numbers_ = 0;
};

// The arrays' bytes must fill the file from the header to the end, each byte once.
void check_layout(const std::string& path, std::vector<Entry>& entries, uint64_t data_bytes) {
  std::vector<const Entry*> order;
  for (const Entry& e : entries) {
    const std::optional<uint64_t> expected = stored_bytes(e.array.element, e.array.shape);
    CHECK(expected, "{}: {}{} has no size that fits", e.array.where(), name_of(e.array.element),
          shape_text(e.array.shape));
    CHECK(e.begin <= e.end && e.end <= data_bytes,
          "{}: lies at bytes {} to {} of the data, which has {}; is the file cut short?", e.array.where(), e.begin,
          e.end, data_bytes);
    CHECK(*expected == e.end - e.begin, "{}: {}{} takes {} bytes, data_offsets give it {}", e.array.where(),
          name_of(e.array.element), shape_text(e.array.shape), *expected, e.end - e.begin);
    order.push_back(&e);
  }
  std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  uint64_t at = 0;
  for (const Entry* e : order) {
    CHECK(e->begin >= at, "{}: begins at byte {} of the data, inside the array before it, which ends at {}",
          e->array.where(), e->begin, at);
    CHECK(e->begin == at, "{}: begins at byte {} of the data; bytes {} to {} belong to no array", e->array.where(),
          e->begin, at, e->begin);
    at = e->end;
  }
  CHECK(at == data_bytes, "{}: the arrays end at byte {} of the data, the file at {}", path, at, data_bytes);
}

template <class List, class Name>
void refuse_duplicates(const std::string& path, List& sorted, Name&& name) {
  std::sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) { return name(a) < name(b); });
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end(),
                                        [&](const auto& a, const auto& b) { return name(a) == name(b); });
  CHECK(twice == sorted.end(), "{}: the name '{}' stands twice in the header", path, shown(name(*twice)));
}

}  // namespace

bool is_safetensors(std::string_view bytes) {
  return bytes.size() > 8 && bytes[8] == '{' && bytes.substr(4, 4) == std::string_view("\0\0\0\0", 4);
}

SafeTensors::SafeTensors(FileBytes file) : file_(std::move(file)) {
  const std::string_view bytes = file_->bytes();
  const std::string& path = file_->path();
  CHECK(bytes.size() >= 8, "{}: has {} bytes, too few for a safetensors file", path, bytes.size());
  uint64_t n;
  std::memcpy(&n, bytes.data(), 8);
  CHECK(n <= kHeaderLimit, "{}: no safetensors file, or one with a header of {}; accepted: up to 100 MB", path,
        byte_count(n));
  CHECK(n <= bytes.size() - 8, "{}: the header takes {} bytes, the file has {}; is it cut short?", path, n + 8,
        bytes.size());
  const std::string_view header = bytes.substr(8, n);
  CHECK(header.starts_with('{'), "{}: the header does not begin with '{{'; this is no safetensors file", path);
  // The parser takes a zero byte for the end of the text.
  CHECK(header.find('\0') == header.npos, "{}: the header holds a zero byte at {}", path, 8 + header.find('\0'));
  header_bytes_ = n + 8;

  std::vector<Entry> entries;
  HeaderReader reader(file_, entries, metadata_);
  json::sax_parse(header.begin(), header.end(), &reader);
  check_layout(path, entries, bytes.size() - header_bytes_);
  for (Entry& e : entries) {
    e.array.bytes = bytes.substr(header_bytes_ + e.begin, e.end - e.begin);
    arrays_.push_back(std::move(e.array));
  }
  by_name_.resize(arrays_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  refuse_duplicates(path, by_name_, [&](size_t i) -> const std::string& { return arrays_[i].name; });
  std::vector<std::string_view> keys;
  for (const auto& [key, text] : metadata_) keys.push_back(key);
  refuse_duplicates(path, keys, [](std::string_view key) { return key; });
}

const StoredArray* SafeTensors::find(std::string_view name) const {
  const auto it = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](size_t i, std::string_view key) { return arrays_[i].name < key; });
  return it != by_name_.end() && arrays_[*it].name == name ? &arrays_[*it] : nullptr;
}

const StoredArray& SafeTensors::at(std::string_view name) const {
  if (const StoredArray* a = find(name)) return *a;
  std::vector<std::string> names;
  for (const StoredArray& a : arrays_) names.push_back(a.name);
  fail("{}: holds no array '{}'; the nearest name is '{}'", file_->path(), name, shown(nearest(name, names)));
}

void write_safetensors(const std::string& path, std::span<const NamedView> arrays, const Metadata& metadata) {
  const auto quoted = [&](const std::string& text) {
    CHECK(is_utf8(text), "{}: the name or text '{}' is not UTF-8", path, shown(text));
    return json(text).dump();
  };
  const auto width = [&](size_t i) { return size_of(arrays[i].view.dtype); };
  std::vector<size_t> order(arrays.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return width(a) > width(b); });
  std::vector<uint64_t> begin(arrays.size());
  uint64_t at = 0;
  for (size_t i : order) begin[i] = at, at += arrays[i].view.bytes();

  std::string header = "{";
  const auto separate = [&] { header += header.size() > 1 ? "," : ""; };
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (size_t i = 0; i < metadata.size(); i++)
      header += (i ? "," : "") + quoted(metadata[i].first) + ":" + quoted(metadata[i].second);
    header += "}";
    std::vector<std::string_view> keys;
    for (const auto& [key, text] : metadata) keys.push_back(key);
    refuse_duplicates(path, keys, [](std::string_view key) { return key; });
  }
  for (size_t i = 0; i < arrays.size(); i++) {
    const View& v = arrays[i].view;
    CHECK(v.present() && arrays[i].name != kMetadataKey, "{}: the array '{}' cannot be written", path, arrays[i].name);
    const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const TypeName& t) { return t.element == element_of(v.dtype); });
    separate();
    header += quoted(arrays[i].name) + format(":{{\"dtype\":\"{}\",\"shape\":[", type->name);
    for (int a = 0; a < v.rank(); a++) header.append(a ? "," : "").append(std::to_string(v.size(a)));
    header += format("],\"data_offsets\":[{},{}]}}", begin[i], begin[i] + v.bytes());
  }
  header += "}";
  header.resize((header.size() + 8 + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment - 8, ' ');
  CHECK(header.size() <= kHeaderLimit, "{}: the header would take {}; accepted: up to 100 MB", path,
        byte_count(header.size()));
  std::vector<size_t> by_name = order;
  refuse_duplicates(path, by_name, [&](size_t i) -> const std::string& { return arrays[i].name; });

  AtomicFile file(path);
  const uint64_t n = header.size();
  file.write(&n, sizeof n);
  file.write(header);
  for (size_t i : order) {
    const View& v = arrays[i].view;
    for_runs(v, [&](int64_t offset, int64_t count) {
      file.write(static_cast<const char*>(v.data) + size_t(offset) * width(i), size_t(count) * width(i));
    });
  }
  file.commit();
}

}  // namespace dr
