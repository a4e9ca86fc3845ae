#include "runtime/ledger.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace dr {
namespace {

constexpr std::string_view kMagic = "dreamroad ledger 1\n";
constexpr size_t kEndBytes = 1 + 3 * 8;

template <class T>
void put(std::string& to, T v) {
  to.append(reinterpret_cast<const char*>(&v), sizeof v);
}
void put_name(std::string& to, std::string_view name) {
  CHECK(name.size() < 256, "ledger: the name '{}' is longer than 255 bytes", name);
  put(to, uint8_t(name.size()));
  to += name;
}

// Reads fields and never past the end.
struct Reader {
  const std::string& path;
  std::string_view bytes;
  size_t at = 0;

  void need(size_t n) const {
    CHECK(n <= bytes.size() - at, "{}: a record is cut short at byte {}; this ledger is damaged", path, at);
  }
  template <class T>
  T get() {
    need(sizeof(T));
    T v;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    at += sizeof v;
    return v;
  }
  std::string name() {
    const size_t n = get<uint8_t>();
    need(n);
    at += n;
    return std::string(bytes.substr(at - n, n));
  }
};

LedgerTensor get_tensor(Reader& r) {
  LedgerTensor t;
  t.name = r.name();
  const uint8_t role = r.get<uint8_t>(), dtype = r.get<uint8_t>(), rank = r.get<uint8_t>();
  CHECK(role <= uint8_t(Role::gradient) && dtype <= uint8_t(DType::u8) && rank <= kMaxRank,
        "{}: tensor {} has an unknown kind; this ledger is damaged", r.path, t.name);
  t.role = Role(role);
  t.dtype = DType(dtype);
  t.sizes.rank = rank;
  for (int i = 0; i < rank; i++) t.sizes[i] = r.get<int64_t>();
  for (uint64_t* v : {&t.hash.low, &t.hash.high, &t.hash.s0, &t.hash.s1, &t.hash.s2}) *v = r.get<uint64_t>();
  return t;
}

std::string shown_name(const LedgerTensor& t) { return (t.role >= Role::output_gradient ? "d" : "") + t.name; }

std::string read_file(const std::string& path) {
  std::FILE* f = std::fopen(path.c_str(), "rb");
  CHECK(f, "{}: no such ledger", path);
  std::string bytes;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) bytes.append(buffer, n);
  const bool failed = std::ferror(f);
  std::fclose(f);
  CHECK(!failed, "{}: the ledger cannot be read", path);
  return bytes;
}

}  // namespace

LedgerWriter::LedgerWriter(std::string path)
    : path_(std::move(path)), temporary_(format("{}.{}.part", path_, getpid())) {
  file_ = std::fopen(temporary_.c_str(), "wb");
  CHECK(file_, "{}: the ledger cannot be created: {}", path_, std::strerror(errno));
  write(std::string(kMagic));
}

LedgerWriter::~LedgerWriter() {
  if (!file_) return;
  std::fclose(file_);
  std::remove(temporary_.c_str());
}

void LedgerWriter::write(const std::string& bytes) {
  CHECK(file_, "{}: the ledger is closed", path_);
  all_.add(bytes.data(), bytes.size());
  CHECK(std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size(), "{}: the ledger cannot be written: {}",
        path_, std::strerror(errno));
}

void LedgerWriter::begin_step(int64_t step) {
  CHECK(!in_step_, "ledger: step {} begins inside step {}", step, step_);
  in_step_ = true;
  step_ = step;
  root_ = Digest();
}

void LedgerWriter::add(const LedgerCall& call) {
  CHECK(in_step_, "ledger: a call of {} outside any step", call.op);
  std::string s = "C";
  put_name(s, call.op);
  put(s, uint8_t(call.backward));
  put(s, uint8_t(call.tensors.size()));
  for (const LedgerTensor& t : call.tensors) {
    put_name(s, t.name);
    put(s, t.role);
    put(s, t.dtype);
    put(s, uint8_t(t.sizes.rank));
    for (int i = 0; i < t.sizes.rank; i++) put(s, t.sizes[i]);
    for (uint64_t v : {t.hash.low, t.hash.high, t.hash.s0, t.hash.s1, t.hash.s2}) put(s, v);
  }
  root_.add(s.data(), s.size());
  write(s);
}

std::string LedgerWriter::end_step() {
  CHECK(in_step_, "ledger: end of a step that was not begun");
  in_step_ = false;
  steps_++;
  std::string s = "S";
  put(s, step_);
  put(s, root_.low());
  put(s, root_.high());
  write(s);
  return to_hex(root_.high(), root_.low());
}

void LedgerWriter::close() {
  CHECK(!in_step_, "ledger: closed inside step {}", step_);
  std::string s = "E";
  put(s, steps_);
  put(s, all_.low());
  put(s, all_.high());
  write(s);
  std::FILE* f = std::exchange(file_, nullptr);
  const bool complete = std::fflush(f) == 0 && fsync(fileno(f)) == 0;
  if (std::fclose(f) == 0 && complete && std::rename(temporary_.c_str(), path_.c_str()) == 0) return;
  const int error = errno;
  std::remove(temporary_.c_str());
  fail("{}: the ledger cannot be completed: {}", path_, std::strerror(error));
}

Ledger read_ledger(const std::string& path) { return parse_ledger(read_file(path), path); }

Ledger parse_ledger(std::string_view bytes, const std::string& path) {
  CHECK(bytes.starts_with(kMagic), "{}: not a ledger of this version", path);
  CHECK(bytes.size() >= kMagic.size() + kEndBytes, "{}: this ledger is cut short", path);
  const size_t end = bytes.size() - kEndBytes;
  Digest digest;
  digest.add(bytes.data(), end);
  Reader tail{path, bytes, end};
  const bool ends = tail.get<char>() == 'E';
  const uint64_t steps = tail.get<uint64_t>();
  CHECK(ends && tail.get<uint64_t>() == digest.low() && tail.get<uint64_t>() == digest.high(),
        "{}: this ledger is damaged or cut short", path);

  Ledger ledger;
  LedgerStep step;
  Reader r{path, bytes.substr(0, end), kMagic.size()};
  while (r.at < r.bytes.size()) {
    const char tag = r.get<char>();
    if (tag == 'C') {
      LedgerCall& call = step.calls.emplace_back();
      call.op = r.name();
      call.backward = r.get<uint8_t>();
      call.tensors.resize(r.get<uint8_t>());
      for (LedgerTensor& t : call.tensors) t = get_tensor(r);
    } else {
      CHECK(tag == 'S', "{}: unknown record at byte {}; this ledger is damaged", path, r.at - 1);
      step.step = r.get<int64_t>();
      step.root_low = r.get<uint64_t>();
      step.root_high = r.get<uint64_t>();
      ledger.push_back(std::exchange(step, {}));
    }
  }
  CHECK(step.calls.empty() && ledger.size() == steps, "{}: {} steps were written, {} found; this ledger is damaged",
        path, steps, ledger.size());
  return ledger;
}

LedgerDiff diff(const Ledger& a, const Ledger& b) {
  LedgerDiff d;
  const auto differ = [&](std::string what) {
    d.identical = false;
    d.what = std::move(what);
    return d;
  };
  for (size_t s = 0; s < a.size() && s < b.size(); s++) {
    const LedgerStep &x = a[s], &y = b[s];
    d.step = x.step;
    if (x.step != y.step)
      return differ(format("the {}. step is {} in the first ledger, {} in the second", s + 1, x.step, y.step));
    if (x.root_low == y.root_low && x.root_high == y.root_high) continue;
    for (size_t c = 0; c < x.calls.size() && c < y.calls.size(); c++) {
      const LedgerCall &p = x.calls[c], &q = y.calls[c];
      const auto title = [](const LedgerCall& call) { return call.op + (call.backward ? " backward" : ""); };
      d.call = int64_t(c);
      d.op = p.op;
      if (p.op != q.op || p.backward != q.backward)
        return differ(
            format("step {}, call {}: {} in the first ledger, {} in the second", x.step, c, title(p), title(q)));
      if (p.tensors.size() != q.tensors.size())
        return differ(format("step {}, call {} ({}): {} tensors in the first ledger, {} in the second", x.step, c,
                             title(p), p.tensors.size(), q.tensors.size()));
      for (size_t i = 0; i < p.tensors.size(); i++) {
        const LedgerTensor &t = p.tensors[i], &u = q.tensors[i];
        const std::string where = format("step {}, call {} ({}), tensor {}", x.step, c, title(p), shown_name(t));
        d.tensor = shown_name(t);
        if (t.name != u.name || t.role != u.role)
          return differ(format("{}: it is {} in the second ledger", where, shown_name(u)));
        if (t.dtype != u.dtype || !(t.sizes == u.sizes))
          return differ(format("{}: {}{} in the first ledger, {}{} in the second", where, name_of(t.dtype),
                               to_string(t.sizes), name_of(u.dtype), to_string(u.sizes)));
        if (t.hash == u.hash) continue;
        d.element = locate(t.hash, u.hash, t.sizes.count());
        return differ(d.element >= 0 ? format("{}: element {} of {} differs", where, d.element, to_string(t.sizes))
                                     : format("{}: several elements of {} differ", where, to_string(t.sizes)));
      }
      d.tensor.clear();
    }
    d.call = int64_t(std::min(x.calls.size(), y.calls.size()));
    d.op.clear();
    return differ(
        format("step {}: {} calls in the first ledger, {} in the second", x.step, x.calls.size(), y.calls.size()));
  }
  d = {};
  if (a.size() == b.size()) return d;
  const Ledger& longer = a.size() > b.size() ? a : b;
  d.step = longer[std::min(a.size(), b.size())].step;
  return differ(format("the {} ledger ends before step {}: {} steps in the first, {} in the second",
                       a.size() < b.size() ? "first" : "second", d.step, a.size(), b.size()));
}

}  // namespace dr
