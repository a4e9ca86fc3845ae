// inspect: what a file or a folder holds, in a table, and with --out as a page of pictures. The kind is told from the
// content, never from the name. The table reads headers alone, so the size of a file does not matter.

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "io/file.h"
#include "io/image.h"
#include "io/json_lines.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "io/sheet.h"
#include "io/text.h"
#include "io/video.h"
#include "runtime/ledger.h"
#include "train/commands/command.h"
#include "train/commands/inspect.h"

namespace dr::cli {

namespace {

using nlohmann::ordered_json;

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
  c.draw = [rows, notes](Report& report) {
    if (!notes.empty()) report.table({"Metadata", "ll", {}, notes});
    report.table({"Tensors", "lllr", rows[0], {rows.begin() + 1, rows.end()}});
  };
  if (is_segment(s)) {
    const Contents drive = inspect_segment(file->path());
    c.kind = drive.kind;
    c.text = drive.text + aligned(rows, "lllr");
    c.json["drive"] = drive.json;
    c.draw = [tensors = c.draw, drive](Report& report) {
      drive.draw(report);
      report.heading("In the file");
      tensors(report);
    };
  }
  return c;
}

Contents inspect_npy(const FileBytes& file) {
  const StoredArray a = parse_npy(file);
  const std::string_view order = a.column_major ? "column-major" : "row-major";
  const std::string text = format("{}{}, {} elements, {}, {}\n", name_of(a.element), shape_text(a.shape),
                                  with_commas(uint64_t(a.count())), byte_count(a.bytes.size()), order);
  return {text,
          {{"dtype", name_of(a.element)}, {"shape", a.shape}, {"order", order}},
          [a, text](Report& report) {
            report.paragraph(text);
            draw_array(report, a);
          }};
}

// A grey image of 16 bits is shown as what such files hold here: depth in metres x 256, 0 where there is none.
void draw_image(Report& report, const FileBytes& file, const ImageInfo& info) {
  if (info.bits != 16 || info.kind != "grey") return picture(report, "", decode_image(file->bytes(), file->path()));
  const Image16 image = decode_image16(file->bytes(), file->path());
  std::vector<float> metres;
  int64_t present = 0;
  for (uint16_t v : image.pixels) metres.push_back(float(v) / 256), present += v > 0;
  picture(report, format("As depth in metres x 256: {:.1f} % of the pixels have one", 100 * double(present) / double(metres.size())),
          depth_image(View(metres.data(), DType::f32, {1, image.height, image.width}), 0));
  depth_key(report);
}

// Twelve frames, evenly apart. A file that does not say how many it has is read twice.
void draw_video(Report& report, const std::string& path, int64_t frames) {
  Image image;
  double time_s = 0;
  if (frames == 0)
    for (VideoReader count(path); count.next(image, time_s);) frames++;
  Filmstrip strip{"", {}, {{"", {}}}, 85};
  const std::vector<int64_t> wanted = evenly(frames, 12);
  VideoReader reader(path);
  for (int64_t i = 0; strip.heads.size() < wanted.size() && reader.next(image, time_s); i++) {
    if (i != wanted[strip.heads.size()]) continue;
    strip.rows[0].frames.push_back(image);
    strip.heads.push_back(format("{:.2f} s", time_s));
  }
  storyboard(report, std::move(strip));
}

Contents inspect_image(const FileBytes& file) {
  const ImageInfo m = image_info(file->bytes(), file->path());
  const std::string text = format("{} x {} pixels, {}, {} bits per channel{}\n", m.width, m.height, m.kind, m.bits,
                                  m.interlaced ? ", interlaced" : "");
  return {text,
          {{"width", m.width}, {"height", m.height}, {"colour", m.kind}, {"bits", m.bits}},
          [file, m, text](Report& report) {
            report.paragraph(text);
            draw_image(report, file, m);
          }};
}

Contents inspect_video(const FileBytes& file) {
  const VideoReader reader(file->path());
  const VideoInfo v = reader.info();
  const auto known = [](double value, std::string text) { return value > 0 ? std::move(text) : "not said"; };
  const Rows rows = {{"frames", known(double(v.frames), std::to_string(v.frames))},
                     {"size", format("{} x {} pixels", v.width, v.height)},
                     {"rate", known(v.frames_per_s, format("{:.6g} frames/s", v.frames_per_s))},
                     {"length", known(v.seconds, format("{:.2f} s", v.seconds))},
                     {"codec", v.codec},
                     {"container", v.container}};
  return {aligned(rows, "ll"),
          {{"frames", v.frames},
           {"width", v.width},
           {"height", v.height},
           {"frames_per_s", v.frames_per_s},
           {"seconds", v.seconds},
           {"codec", v.codec},
           {"container", v.container}},
          [path = file->path(), frames = v.frames, rows](Report& report) {
            report.table({"", "ll", {}, rows});
            draw_video(report, path, frames);
          }};
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
  return {format("{} steps\n", ledger.size()) + aligned(rows, "rrl"),
          {{"steps", steps}},
          [rows](Report& report) { report.table({"", "rrl", rows[0], {rows.begin() + 1, rows.end()}}); }};
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
          {{"records", records.size()}, {"keys", list}},
          [file, rows](Report& report) {
            report.table({"", "lrrr", rows[0], {rows.begin() + 1, rows.end()}});
            draw_records(report, parse_json_lines(file->bytes(), file->path()));
          }};
}

// MP4 and QuickTime, Matroska and WebM, AVI, and a bare H.264 or HEVC stream.
bool is_video(std::string_view b) {
  using namespace std::string_view_literals;
  return (b.size() > 8 && b.substr(4, 4) == "ftyp") || b.starts_with("\x1a\x45\xdf\xa3") ||
         (b.size() > 12 && b.starts_with("RIFF") && b.substr(8, 4) == "AVI ") || b.starts_with("\0\0\0\1"sv) || b.starts_with("\0\0\1"sv);
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
    {"video", is_video, inspect_video},  // after safetensors, whose length may begin as a stream of H.264 does
    {"log", [](std::string_view b) { return b.starts_with('{'); }, inspect_log},
};

struct InspectOptions {
  Common common;
  std::string path;
};

// The last part of a path that has a name.
std::string base_name(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path p = std::filesystem::canonical(path, ignored);
  return p.filename().empty() ? "report" : p.filename().string();
}

int inspect(const InspectOptions& o) {
  const Contents c = inspect_path(o.path);
  const bool file = !std::filesystem::is_directory(o.path);
  const uint64_t bytes = file ? std::filesystem::file_size(o.path) : 0;
  const std::string size = file ? ", " + byte_count(bytes) : "";
  if (!o.common.quiet) std::printf("%s: %s%s\n%s", shown(o.path, 500).c_str(), c.kind.c_str(), size.c_str(), c.text.c_str());
  ordered_json result = {{"file", o.path}, {"kind", c.kind}};
  if (file) result["bytes"] = bytes;
  result.update(c.json);
  if (!o.common.out.empty()) {
    const std::string page = o.common.out + "/" + base_name(o.path) + ".html";
    Report report(shown(base_name(o.path)), c.kind + size);
    c.draw(report);
    create_folder(o.common.out);
    report.write(page);
    result["report"] = page;
    if (!o.common.quiet) std::printf("report: %s\n", page.c_str());
  }
  if (!o.common.json.empty())
    write_file(o.common.json, result.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  return kDone;
}

}  // namespace

Contents inspect_path(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return inspect_folder(path);
  const FileBytes file = std::make_shared<MappedFile>(path);
  const std::string_view bytes = file->bytes();
  for (const Kind& kind : kKinds) {
    if (!kind.is(bytes)) continue;
    Contents c = kind.inspect(file);
    if (c.kind.empty()) c.kind = kind.name;
    return c;
  }
  CHECK(bytes.substr(0, 4096).find("<OpenDRIVE") == bytes.npos, "{}: an OpenDRIVE map; inspect does not read these yet", path);
  std::string known;
  for (const Kind& kind : kKinds) known.append(known.empty() ? "" : ", ").append(kind.name);
  fail("{}: its content is of no kind that is known here; accepted: {}, and folders with a driving log", path, known);
}

void add_inspect(Command& app, Body& body) {
  auto options = std::make_shared<InspectOptions>();
  Command command = app.add_subcommand("inspect", "what a file or a folder holds, in a table; with --out as a page of pictures");
  add_common(command, options->common);
  command.add_option("PATH", options->path, "safetensors, .npy, PNG, JPEG, video, ledger or log; a folder with a driving log").required();
  command.callback([options, &body] { body = [options] { return inspect(*options); }; });
}

}  // namespace dr::cli
