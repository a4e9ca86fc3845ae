#include "io/npy.h"

#include <algorithm>
#include <cstring>

#include "io/text.h"
#include "runtime/tensor.h"

namespace dr {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kHeaderLimit = 10'000;  // NumPy's own, for headers that were not vouched for
constexpr size_t kAlignment = 64;

struct TypeName {
  std::string_view name;
  Element element;
};
constexpr TypeName kTypes[] = {
    {"<f8", Element::f64}, {"<f4", Element::f32},   {"<f2", Element::f16}, {"<i8", Element::i64},
    {"<i4", Element::i32}, {"<i2", Element::i16},   {"|i1", Element::i8},  {"<u8", Element::u64},
    {"<u4", Element::u32}, {"<u2", Element::u16},   {"|u1", Element::u8},  {"|b1", Element::boolean},
    {"<c8", Element::c64}, {"<c16", Element::c128},
};

// The Python literal of the header: a dictionary of texts, True or False, and a tuple of whole numbers.
class Header {
 public:
  Header(const std::string& path, std::string_view text, size_t offset) : path_(path), text_(text), offset_(offset) {}

  void parse(StoredArray& to) {
    enum : unsigned { kDescr = 1, kOrder = 2, kShape = 4 };
    unsigned seen = 0;
    take('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      const unsigned field = key == "descr" ? kDescr : key == "fortran_order" ? kOrder : key == "shape" ? kShape : 0u;
      CHECK(field, "{}: unknown key '{}' in the header; accepted: descr, fortran_order, shape", path_, shown(key));
      CHECK(!(seen & field), "{}: {} stands twice in the header", path_, key);
      seen |= field;
      take(':');
      if (field == kDescr) to.element = element();
      if (field == kOrder) to.column_major = truth();
      if (field == kShape) shape(to.shape);
      if (!accept(',')) {
        take('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) bad("the end of the header");
    CHECK(seen == (kDescr | kOrder | kShape), "{}: {} is missing in the header", path_,
          !(seen & kDescr)   ? "descr"
          : !(seen & kOrder) ? "fortran_order"
                             : "shape");
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) at_++;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  void take(char c) {
    if (!accept(c)) bad(std::string("'") + c + "'");
  }
  bool accept_word(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  [[noreturn]] void bad(std::string_view expected) const {
    fail("{}: byte {} of the header: expected {}, found '{}'", path_, offset_ + at_, expected,
         shown(text_.substr(at_), 20));
  }
  std::string_view quoted() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') bad("a text in quotes");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) bad("a text in quotes");
    const std::string_view text = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return text;
  }
  bool truth() {
    if (accept_word("True")) return true;
    if (accept_word("False")) return false;
    bad("True or False");
  }
  Element element() {
    skip_space();
    CHECK(at_ >= text_.size() || text_[at_] != '[', "{}: holds records; accepted: numbers and truth values", path_);
    const std::string_view name = quoted();
    CHECK(name.find('O') == name.npos,
          "{}: holds Python objects as a pickle, which runs code when it is loaded; accepted: numbers and truth values",
          path_);
    CHECK(!name.starts_with('>'), "{}: holds big-endian values ('{}'); accepted: little-endian", path_, shown(name));
    for (const TypeName& t : kTypes)
      if (t.name == name) return t.element;
    std::string accepted;
    for (const TypeName& t : kTypes) accepted.append(accepted.empty() ? "" : " ").append(t.name);
    fail("{}: holds elements of type '{}'; accepted: {}", path_, shown(name), accepted);
  }
  void shape(std::vector<int64_t>& to) {
    take('(');
    while (!accept(')')) {
      CHECK(to.size() < kMaxStoredRank, "{}: more than {} axes", path_, kMaxStoredRank);
      to.push_back(whole_number());
      if (!accept(',')) {
        if (to.size() == 1) bad("','");  // (5) is a number in Python, (5,) a shape
        take(')');
        break;
      }
    }
  }
  int64_t whole_number() {
    skip_space();
    int64_t n = 0;
    const size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; at_++)
      CHECK(!__builtin_mul_overflow(n, 10, &n) && !__builtin_add_overflow(n, text_[at_] - '0', &n),
            "{}: the axis at byte {} of the header is too long", path_, offset_ + begin);
    if (at_ == begin) bad("a whole number");
    if (at_ < text_.size() && text_[at_] == 'L') at_++;  // as Python 2 wrote it
    return n;
  }

  const std::string& path_;
  std::string_view text_;
  size_t offset_, at_ = 0;
};

}  // namespace

StoredArray read_npy(const std::string& path) { return parse_npy(std::make_shared<MappedFile>(path)); }

StoredArray parse_npy(FileBytes file) {
  StoredArray array;
  array.file = file;
  const std::string& path = file->path();
  const std::string_view bytes = file->bytes();
  const auto byte = [&](size_t i) { return uint8_t(bytes[i]); };
  if (!bytes.starts_with(kMagic)) {
    CHECK(bytes.size() < 2 || byte(0) != 0x80 || byte(1) < 2 || byte(1) > 5,
          "{}: is a Python pickle, not a .npy file; a pickle runs code when it is loaded and is never read", path);
    CHECK(!bytes.starts_with("PK\x03\x04"), "{}: is an archive (.npz?); accepted: a single .npy file", path);
    fail("{}: is no .npy file: it does not begin with \\x93NUMPY", path);
  }
  CHECK(bytes.size() >= 10, "{}: is cut short after {} bytes", path, bytes.size());
  const uint8_t major = byte(6), minor = byte(7);
  CHECK(major >= 1 && major <= 3 && minor == 0, "{}: format version {}.{}; accepted: 1.0, 2.0, 3.0", path, major,
        minor);
  const size_t begin = major == 1 ? 10 : 12;
  CHECK(bytes.size() >= begin, "{}: is cut short after {} bytes", path, bytes.size());
  const uint64_t n =
      byte(8) | uint64_t(byte(9)) << 8 | (major == 1 ? 0 : uint64_t(byte(10)) << 16 | uint64_t(byte(11)) << 24);
  CHECK(n <= kHeaderLimit, "{}: a header of {} bytes; accepted: up to {}", path, n, kHeaderLimit);
  CHECK(n <= bytes.size() - begin, "{}: is cut short in the header, which takes {} bytes", path, n);
  Header(path, bytes.substr(begin, n), begin).parse(array);
  array.bytes = bytes.substr(begin + n);
  const std::optional<uint64_t> expected = stored_bytes(array.element, array.shape);
  CHECK(expected, "{}: {}{} has no size that fits", path, name_of(array.element), shape_text(array.shape));
  CHECK(*expected == array.bytes.size(), "{}: {}{} takes {} bytes, the file holds {} after its header{}", path,
        name_of(array.element), shape_text(array.shape), *expected, array.bytes.size(),
        *expected > array.bytes.size() ? "; is it cut short?" : "");
  return array;
}

void write_npy(const std::string& path, const View& view) {
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const TypeName& t) { return t.element == element_of(view.dtype); });
  CHECK(type != std::end(kTypes), "{}: NumPy has no {}; accepted: f32, f64, i32, i64, u32, u8", path,
        name_of(view.dtype));
  std::string header = format("{{'descr': '{}', 'fortran_order': False, 'shape': (", type->name);
  for (int a = 0; a < view.rank(); a++) header += format("{}{}", a ? ", " : "", view.size(a));
  header += view.rank() == 1 ? ",), }" : "), }";
  header.resize((header.size() + 11 + kAlignment - 1) / kAlignment * kAlignment - 11, ' ');
  header += '\n';
  AtomicFile file(path);
  file.write(kMagic);
  file.write(std::string_view("\x01\x00", 2));
  const uint16_t n = uint16_t(header.size());
  file.write(&n, sizeof n);
  file.write(header);
  const size_t width = size_of(view.dtype);
  for_runs(view, [&](int64_t offset, int64_t count) {
    file.write(static_cast<const char*>(view.data) + size_t(offset) * width, size_t(count) * width);
  });
  file.commit();
}

}  // namespace dr
