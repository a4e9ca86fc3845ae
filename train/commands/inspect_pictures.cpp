#include <algorithm>
#include <cmath>

#include "io/sheet.h"
#include "io/text.h"
#include "train/commands/inspect.h"

namespace dr::cli {

namespace {

constexpr double kPage = 840, kGap = 4;              // pixels: width of a report's column, space between frames
constexpr int64_t kMostElements = int64_t{1} << 26;  // that are drawn

// Values from the lowest to the highest, from black to white; what is not finite is black.
Image grey_image(std::span<const double> values, int64_t height, int64_t width, double low, double high) {
  Image image{int(width), int(height), 1, {}};
  for (double v : values)
    image.pixels.push_back(std::isfinite(v) ? uint8_t(255 * (high > low ? (v - low) / (high - low) : 0.5) + 0.5) : 0);
  return image;
}

std::pair<double, double> finite_range(std::span<const double> values) {
  double low = INFINITY, high = -INFINITY;
  for (double v : values)
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  return {low, high};
}

}  // namespace

std::vector<int64_t> evenly(int64_t n, int64_t wanted) {
  std::vector<int64_t> list;
  const int64_t k = std::min(n, wanted);
  for (int64_t i = 0; i < k; i++) list.push_back(k == 1 ? 0 : i * (n - 1) / (k - 1));
  return list;
}

void storyboard(Report& report, Filmstrip strip, size_t columns) {
  size_t frames = 0, label = 0;
  for (const Filmstrip::Row& row : strip.rows) {
    frames = std::max(frames, row.frames.size());
    label = std::max(label, character_count(row.label));
  }
  if (frames == 0) return;
  columns = std::min(columns, frames);
  const double room = kPage - (label ? 8 * double(label) + 16 : 0);
  strip.zoom = std::min(4.0, (room / double(columns) - kGap) / strip.rows[0].frames[0].width);
  for (size_t first = 0; first < frames; first += columns) {
    const auto part = [&](const auto& list) {
      return std::decay_t<decltype(list)>(list.begin() + std::min(first, list.size()),
                                          list.begin() + std::min(first + columns, list.size()));
    };
    Filmstrip piece = strip;
    if (first > 0) piece.caption.clear();
    piece.heads = part(strip.heads);
    for (size_t i = 0; i < piece.rows.size(); i++) piece.rows[i].frames = part(strip.rows[i].frames);
    report.filmstrip(piece);
  }
}

void picture(Report& report, const std::string& caption, Image image) {
  const int quality = image.width * image.height > 1 << 18 ? 90 : 0;
  storyboard(report, {caption, {}, {{"", {std::move(image)}}}, quality});
}

void colour_key(Report& report, const std::string& caption, std::span<const std::string> names,
                std::span<const Image> colours) {
  report.filmstrip({caption, {names.begin(), names.end()}, {{"", {colours.begin(), colours.end()}}}});
}

void depth_key(Report& report) {
  std::vector<std::string> names;
  std::vector<Image> colours;
  constexpr int kWidth = 96, kHeight = 14;
  for (float metres : {2.f, 6.3f, 20.f, 63.f, 200.f, 0.f}) {
    std::vector<float> flat(kWidth * kHeight, metres);
    names.push_back(metres > 0 ? format("{:.{}f} m", metres, metres == 6.3f ? 1 : 0) : "none");
    colours.push_back(depth_image(View(flat.data(), DType::f32, {1, kHeight, kWidth}), 0));
  }
  colour_key(report, "Colours of depth, logarithmic", names, colours);
}

void draw_array(Report& report, const StoredArray& a) {
  const auto& s = a.shape;
  const size_t rank = s.size();
  const std::string name = a.name.empty() ? "values" : shown(a.name);
  if (rank == 0 || a.count() == 0 || a.element == Element::c64 || a.element == Element::c128) return;
  if (a.count() > kMostElements)
    return report.paragraph(format("{}: too large for a picture ({} elements; up to {} are drawn).", name,
                                   with_commas(uint64_t(a.count())), with_commas(uint64_t(kMostElements))));
  const std::vector<double> v = a.values<double>();
  if (rank == 1 || (rank == 2 && s[1] <= 6)) {
    Chart chart{name, "row", "", {}};
    const size_t columns = rank == 1 ? 1 : size_t(s[1]);
    for (size_t c = 0; c < columns; c++) {
      Series series{columns == 1 ? "" : format("column {}", c), {}, {}};
      for (size_t i = c; i < v.size(); i += columns) {
        series.x.push_back(double(i / columns));
        series.y.push_back(v[i]);
      }
      chart.series.push_back(std::move(series));
    }
    return report.curves(chart);
  }
  const bool colour = a.element == Element::u8 && s.back() == 3 && rank >= 3;
  if (rank > (colour ? 4u : 3u)) return;
  const size_t axes = colour ? 3 : 2;  // of a frame
  const int64_t height = s[rank - axes], width = s[rank - axes + 1], frames = rank > axes ? s[0] : 1;
  if (width > kMaxImageSide || height > kMaxImageSide) return;
  const size_t each = v.size() / size_t(frames);
  const auto [low, high] = a.element == Element::u8 ? std::pair{0.0, 255.0} : finite_range(v);
  Filmstrip strip{a.element == Element::u8 ? name : format("{}: black is {:.6g}, white {:.6g}", name, low, high), {}, {{"", {}}}};
  for (int64_t f : evenly(frames, 12)) {
    const std::span<const double> frame = std::span(v).subspan(size_t(f) * each, each);
    strip.rows[0].frames.push_back(colour ? Image{int(width), int(height), 3, {frame.begin(), frame.end()}}
                                          : grey_image(frame, height, width, low, high));
    if (frames > 1) strip.heads.push_back(format("frame {}", f));
  }
  storyboard(report, std::move(strip));
}

void draw_records(Report& report, const std::vector<nlohmann::json>& records) {
  std::vector<Series> curves;
  const auto add = [&](const std::string& name, double x, const nlohmann::json& value) {
    if (!value.is_number()) return;
    auto s = std::find_if(curves.begin(), curves.end(), [&](const Series& c) { return c.name == name; });
    if (s == curves.end()) s = curves.insert(s, {name, {}, {}});
    s->x.push_back(x);
    s->y.push_back(value.get<double>());
  };
  bool steps = true;
  for (const nlohmann::json& r : records) steps &= r.contains("step") && r["step"].is_number();
  for (size_t i = 0; i < records.size(); i++) {
    const double x = steps ? records[i]["step"].get<double>() : double(i);
    for (const auto& [key, value] : records[i].items()) {
      if (value.is_object())
        for (const auto& [inner, v] : value.items()) add(key + "." + inner, x, v);
      else if (key != "step") add(key, x, value);
    }
  }
  for (Series& s : curves) {
    const std::string name = shown(s.name);
    s.name.clear();
    report.curves({name, steps ? "step" : "record", "", {std::move(s)}});
  }
}

}  // namespace dr::cli
