// inspect: what a file holds, in a table. Its kind is told from its content, never from its name, and headers alone are
// read, so the size of a file does not matter.

#include <cstdio>
#include <cstring>

#include "io/file.h"
#include "io/image.h"
#include "io/json_lines.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "io/text.h"
#include "runtime/ledger.h"
#include "train/commands/command.h"

namespace dr::cli {

namespace {

using nlohmann::ordered_json;

using Rows = std::vector<std::vector<std::string>>;

// What people read, and what scripts read.
struct Contents {
  std::string text;
  ordered_json json;
  std::string_view kind = "";  // where it is narrower than the kind that the first bytes tell
};

Contents inspect_safetensors(const FileBytes& file) {
  const SafeTensors s(file);
  Contents c;
  Rows rows = {{"name", "dtype", "shape", "bytes"}};
  ordered_json tensors = ordered_json::array(), metadata = ordered_json::object();
  int64_t elements = 0;
  for (const StoredArray& a : s.arrays()) {
    rows.push_back({shown(a.name), std::string(name_of(a.element)), shape_text(a.shape), with_commas(a.bytes.size())});
    tensors.push_back({{"name", a.name}, {"dtype", name_of(a.element)}, {"shape", a.shape}, {"bytes", a.bytes.size()}});
    elements += a.count();
  }
  Rows notes;
  for (const auto& [key, text] : s.metadata()) {
    notes.push_back({shown(key), shown(text)});
    metadata[key] = text;
  }
  c.text = format("{} tensors, {} elements, {}\n", s.arrays().size(), with_commas(uint64_t(elements)),
                  byte_count(file->bytes().size() - s.header_bytes()));
  c.text += aligned(notes, "ll") + aligned(rows, "lllr");
  c.json = {{"tensors", tensors}, {"metadata", metadata}, {"elements", elements}, {"header_bytes", s.header_bytes()}};
  if (is_segment(s)) c.kind = "segment";
  return c;
}

Contents inspect_npy(const FileBytes& file) {
  const StoredArray a = parse_npy(file);
  const std::string_view order = a.column_major ? "column-major" : "row-major";
  return {format("{}{}, {} elements, {}, {}\n", name_of(a.element), shape_text(a.shape),
                 with_commas(uint64_t(a.count())), byte_count(a.bytes.size()), order),
          {{"dtype", name_of(a.element)}, {"shape", a.shape}, {"order", order}}};
}

Contents inspect_image(const FileBytes& file) {
  const ImageInfo m = image_info(file->bytes(), file->path());
  return {format("{} x {} pixels, {}, {} bits per channel{}\n", m.width, m.height, m.kind, m.bits,
                 m.interlaced ? ", interlaced" : ""),
          {{"width", m.width}, {"height", m.height}, {"colour", m.kind}, {"bits", m.bits}}};
}

Contents inspect_ledger(const FileBytes& file) {
  const Ledger ledger = parse_ledger(file->bytes(), file->path());
  Rows rows = {{"step", "calls", "root hash"}};
  ordered_json steps = ordered_json::array();
  for (const LedgerStep& s : ledger) {
    const std::string root = to_hex(s.root_high, s.root_low);
    rows.push_back({std::to_string(s.step), std::to_string(s.calls.size()), root});
    steps.push_back({{"step", s.step}, {"calls", s.calls.size()}, {"root", root}});
  }
  return {format("{} steps\n", ledger.size()) + aligned(rows, "rrl"), {{"steps", steps}}};
}

Contents inspect_log(const FileBytes& file) {
  const std::vector<nlohmann::json> records = parse_json_lines(file->bytes(), file->path());
  struct Key {
    std::string name;
    size_t records = 0;
    const nlohmann::json *first = nullptr, *last = nullptr;
  };
  std::vector<Key> keys;
  for (const nlohmann::json& record : records)
    for (const auto& [name, value] : record.items()) {
      auto key = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.name == name; });
      if (key == keys.end()) key = keys.insert(key, {name, 0, &value, nullptr});
      key->records++;
      key->last = &value;
    }
  Rows rows = {{"key", "records", "first", "last"}};
  ordered_json list = ordered_json::array();
  for (const Key& k : keys) {
    rows.push_back({shown(k.name), std::to_string(k.records), shown(k.first->dump(), 30), shown(k.last->dump(), 30)});
    list.push_back({{"key", k.name}, {"records", k.records}, {"first", *k.first}, {"last", *k.last}});
  }
  return {format("{} records\n", records.size()) + aligned(rows, "lrrr"),
          {{"records", records.size()}, {"keys", list}}};
}

struct Kind {
  std::string_view name;
  bool (*is)(std::string_view bytes);
  Contents (*inspect)(const FileBytes& file);
};

// A pickle is told apart by the reader of .npy files, which says why it is refused.
constexpr Kind kKinds[] = {
    {"png", is_png, inspect_image},
    {"jpeg", is_jpeg, inspect_image},
    {"npy", [](std::string_view b) { return b.starts_with("\x93NUMPY") || b.starts_with('\x80'); }, inspect_npy},
    {"ledger", [](std::string_view b) { return b.starts_with("dreamroad ledger "); }, inspect_ledger},
    {"safetensors", is_safetensors, inspect_safetensors},
    {"log", [](std::string_view b) { return b.starts_with('{'); }, inspect_log},
};

struct InspectOptions {
  Common common;
  std::string path;
};

int inspect(const InspectOptions& o) {
  const FileBytes file = std::make_shared<MappedFile>(o.path);
  for (const Kind& kind : kKinds) {
    if (!kind.is(file->bytes())) continue;
    const Contents c = kind.inspect(file);
    const std::string name(c.kind.empty() ? kind.name : c.kind);
    if (!o.common.quiet)
      std::printf("%s: %s, %s\n%s", shown(o.path, 500).c_str(), name.c_str(), byte_count(file->bytes().size()).c_str(),
                  c.text.c_str());
    if (!o.common.json.empty()) {
      ordered_json result = {{"file", o.path}, {"kind", name}, {"bytes", file->bytes().size()}};
      result.update(c.json);
      write_file(o.common.json, result.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    }
    return kDone;
  }
  std::string known;
  for (const Kind& kind : kKinds) known.append(known.empty() ? "" : ", ").append(kind.name);
  fail("{}: its content is of no kind that is known here; accepted: {}", o.path, known);
}

}  // namespace

void add_inspect(CLI::App& app, Body& body) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "what a file holds: safetensors, .npy, PNG, JPEG, ledger, log");
  add_common(*command, options->common);
  command->add_option("FILE", options->path, "the file")->required();
  command->callback([options, &body] { body = [options] { return inspect(*options); }; });
}

}  // namespace dr::cli
