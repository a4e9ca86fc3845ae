#include "io/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <tuple>

#include "io/text.h"
#include "kernels/core/check.h"

namespace dr {
namespace {

constexpr double kWidth = 720, kPlotHeight = 226, kTop = 30, kBottom = 44;
constexpr double kMapLeft = 56, kMapRight = 16, kMapHeight = 420;  // beside a map, and the most that it is high
constexpr double kCharacter = 7.2;  // width of a digit at the size of tick labels
constexpr size_t kColours = 6;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A value's place on an axis, 0 to 1.
struct Axis {
  double low = kInfinity, high = -kInfinity;
  bool log = false, down = false;
  std::vector<double> marks;
  std::vector<std::string> labels;

  double map(double v) const { return log ? std::log10(v) : v; }
  bool has(double v) const { return std::isfinite(v) && (!log || v > 0); }
  double at(double v) const {
    const double up = (map(v) - map(low)) / (map(high) - map(low));
    return down ? 1 - up : up;
  }
  void take(double v) { low = std::min(low, v), high = std::max(high, v); }
};

// "2e-05" as "2e-5"
std::string scientific(double v, int digits) {
  std::string s = format("{:.{}g}", v, digits);
  if (const size_t e = s.find('e'); e != s.npos) {
    if (s[e + 2] == '0') s.erase(e + 2, 1);
    if (s[e + 1] == '+') s.erase(e + 1, 1);
  }
  return s;
}

// Powers of ten, and 2 and 5 times them where the range is short.
void place_log_ticks(Axis& a) {
  const int from = int(std::floor(std::log10(a.low))), to = int(std::ceil(std::log10(a.high)));
  const int stride = std::max(1, (to - from + 5) / 6);
  const bool between = std::log10(a.high / a.low) < 2.5;
  for (int e = from; e <= to; e += stride)
    for (double m : {1., 2., 5.}) {
      const double v = m * std::pow(10., e);
      if ((m > 1 && !between) || v < a.low * 0.999 || v > a.high * 1.001) continue;
      a.marks.push_back(v);
      a.labels.push_back(v >= 1e-4 && v < 1e6 ? tick_labels({v})[0] : scientific(v, 1));
    }
}

void place_ticks(Axis& a, int wanted, bool extend) {
  if (!(a.low <= a.high)) a.low = a.log ? 1 : 0, a.high = a.log ? 10 : 1;
  if (a.log) {
    if (a.high / a.low < 4) a.low /= 2, a.high *= 2;
    place_log_ticks(a);
    return;
  }
  if (a.low == a.high) {
    const double half = a.low == 0 ? 1 : std::abs(a.low) / 10;
    a.low -= half, a.high += half;
  }
  a.marks = ticks(a.low, a.high, wanted);
  if (a.marks.size() >= 2) {  // whole steps at the ends: always, or where little is missing
    const double step = a.marks[1] - a.marks[0], most = extend ? 1 : 0.1;
    const double below = a.marks.front() - step, above = a.marks.back() + step;
    const auto tidy = [&](double v) { return std::abs(v) < 1e-9 * step ? 0 : v; };
    if (a.low - below < most * step * (1 - 1e-9)) a.marks.insert(a.marks.begin(), a.low = tidy(below));
    if (above - a.high < most * step * (1 - 1e-9)) a.marks.push_back(a.high = tidy(above));
  }
  a.labels = tick_labels(a.marks);
}

// Ranges round the data's middle with as many data units to a page unit on both axes. Returns the map's height.
double place_map_ticks(Axis& x, Axis& y, double width) {
  if (!(x.low <= x.high)) x.low = x.high = y.low = y.high = 0;
  const double wide = std::max(1.05 * (x.high - x.low), 1.0), high = 1.05 * (y.high - y.low);
  const double height = std::clamp(high * width / wide, kPlotHeight, kMapHeight), unit = std::max(wide / width, high / height);
  for (auto [a, length, wanted] : {std::tuple{&x, width, 8}, {&y, height, 5}}) {
    const double middle = (a->low + a->high) / 2;
    a->low = middle - unit * length / 2, a->high = middle + unit * length / 2;
    a->marks = ticks(a->low, a->high, wanted);
    a->labels = tick_labels(a->marks);
  }
  return height;
}

// A marker of about 8 units across, drawn round (0,0): circle, square, triangle, diamond, plus, triangle on its tip.
std::string marker(size_t series, double x, double y, std::string_view tip = "") {
  constexpr std::array<std::string_view, kColours> kShapes = {
      "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z",
      "M-3.2-3.2h6.4v6.4h-6.4z",
      "M0-4.2L4.2 3.2H-4.2z",
      "M0-4.6L4.6 0L0 4.6L-4.6 0z",
      "M-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",
      "M0 4.2L4.2-3.2H-4.2z"};
  std::string s = format("<path class=\"m s{}\" d=\"{}\" transform=\"translate({:.1f} {:.1f})\"", series % kColours,
                         kShapes[series % kColours], x, y);
  return s + (tip.empty() ? "/>" : format("><title>{}</title></path>", tip));
}

struct Point {
  double x, y;            // on the page
  double from_x, from_y;  // of the data
};

// Of the points that share a column of the page: the first, the lowest, the highest and the last. A curve drawn through
// them looks like one through all.
std::vector<Point> thinned(std::span<const Point> points) {
  if (points.size() < 4 * size_t(kWidth) ||
      !std::is_sorted(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; }))
    return {points.begin(), points.end()};
  std::vector<Point> kept;
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    size_t low = begin, high = begin;
    for (end = begin; end < points.size() && std::floor(points[end].x) == std::floor(points[begin].x); end++) {
      if (points[end].y < points[low].y) low = end;
      if (points[end].y > points[high].y) high = end;
    }
    std::array<size_t, 4> order = {begin, low, high, end - 1};
    std::sort(order.begin(), order.end());
    for (size_t i = 0; i < 4; i++)
      if (i == 0 || order[i] != order[i - 1]) kept.push_back(points[order[i]]);
  }
  return kept;
}

std::string number(double v) { return format("{:.6g}", v); }

// The line of a series, in pieces where it has gaps, with markers on every point of a short one and on a few of a long.
std::string curve(const Chart& chart, size_t index, const Axis& x, const Axis& y, double left, double width, double height) {
  const Series& s = chart.series[index];
  std::vector<std::vector<Point>> pieces(1);
  for (size_t i = 0; i < s.x.size(); i++) {
    if (x.has(s.x[i]) && y.has(s.y[i]))
      pieces.back().push_back({left + width * x.at(s.x[i]), kTop + height * (1 - y.at(s.y[i])), s.x[i], s.y[i]});
    else if (!pieces.back().empty()) pieces.emplace_back();
  }
  std::string line, markers;
  size_t count = 0;
  for (auto& piece : pieces) {
    piece = thinned(piece);
    count += piece.size();
    for (size_t i = 0; i < piece.size(); i++) line += format("{}{:.1f} {:.1f}", i ? "L" : "M", piece[i].x, piece[i].y);
    if (piece.size() == 1) line += "h0";
  }
  const size_t step = count <= 40 ? 1 : (count + 7) / 8;
  size_t n =
      step == 1 ? 0 : step * index / std::max<size_t>(chart.series.size(), 1);  // not all series at the same place
  for (const auto& piece : pieces)
    for (const Point& p : piece)
      if (n++ % step == 0)
        markers +=
            marker(index, p.x, p.y,
                   html_escaped((s.name.empty() ? "" : s.name + ": ") + number(p.from_x) + ", " + number(p.from_y)));
  if (line.empty()) return "";
  if (s.faint) return format("<path class=\"l f s{}\" d=\"{}\"/>\n", index % kColours, line);
  return format("<path class=\"l s{}\" d=\"{}\"/>{}\n", index % kColours, line, markers);
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string s;
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    const char c = text[0];
    const bool control = n == 1 && (uint8_t(c) < 0x20 || c == 0x7f) && c != '\n' && c != '\t';
    if (n == 0 || control) s += "\xef\xbf\xbd";
    else if (c == '&') s += "&amp;";
    else if (c == '<') s += "&lt;";
    else if (c == '>') s += "&gt;";
    else if (c == '"') s += "&quot;";
    else if (c == '\'') s += "&#39;";
    else s += text.substr(0, n);
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return s;
}

std::vector<double> ticks(double low, double high, int wanted) {
  const double raw = (high - low) / std::max(wanted, 1);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10., std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double m : {5., 2., 1.})
    if (m * power >= raw * (1 - 1e-9)) step = m * power;
  std::vector<double> list;
  // Whole multiples, so that 0 is 0 and no error adds up.
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && list.size() < 100; k++)
    list.push_back(k == 0 ? 0 : k * step);
  return list;
}

std::vector<std::string> tick_labels(const std::vector<double>& list) {
  double step = kInfinity, largest = 0;
  for (size_t i = 0; i < list.size(); i++) {
    largest = std::max(largest, std::abs(list[i]));
    if (i > 0) step = std::min(step, list[i] - list[i - 1]);
  }
  if (list.size() == 1 && largest > 0) step = largest;
  std::vector<std::string> labels;
  for (double v : list) {
    std::string s;
    const double magnitude = std::abs(v);
    if (largest >= 1e7 || (largest > 0 && largest < 1e-4)) {
      s = scientific(magnitude, 3);
    } else {
      const int decimals = std::isfinite(step) ? std::clamp(int(std::ceil(-std::log10(step) - 1e-9)), 0, 8) : 0;
      s = format("{:.{}f}", magnitude, decimals);
      if (const size_t whole = std::min(s.find('.'), s.size()); largest >= 10'000 && whole > 3)
        s = with_commas(uint64_t(std::stoull(s.substr(0, whole)))) + s.substr(whole);
    }
    labels.push_back((v < 0 ? "\xe2\x88\x92" : "") + s);  // the minus of print, as wide as a digit
  }
  return labels;
}

std::string svg_of(const Chart& chart) {
  Axis x, y;
  y.log = chart.log_y;
  for (const Series& s : chart.series) {
    CHECK(s.x.size() == s.y.size(), "chart '{}': series '{}' has {} x and {} y", chart.title, s.name, s.x.size(),
          s.y.size());
    for (size_t i = 0; i < s.x.size(); i++)
      if (x.has(s.x[i]) && y.has(s.y[i])) x.take(s.x[i]), y.take(s.y[i]);
  }
  const bool empty = !(x.low <= x.high);
  double height = kPlotHeight;
  if (chart.map) {
    y.down = true;
    height = place_map_ticks(x, y, kWidth - kMapLeft - kMapRight);
  } else {
    place_ticks(x, 8, false);
    place_ticks(y, 5, true);
  }
  size_t longest = 0;
  for (const std::string& label : y.labels) longest = std::max(longest, character_count(label));
  const double left = chart.map ? kMapLeft : 14 + kCharacter * double(longest);
  const double right =
      kWidth - (chart.map ? kMapRight : std::max(8., kCharacter / 2 * double(x.labels.empty() ? 0 : x.labels.back().size())));
  const double width = right - left, bottom = kTop + height, page = bottom + kBottom;

  std::string svg = format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, page,
                           html_escaped(chart.title.empty() ? chart.y_label : chart.title));
  if (!chart.y_label.empty())
    svg += format("<text class=\"a\" x=\"0\" y=\"12\">{}</text>", html_escaped(chart.y_label));
  for (size_t i = 0; i < y.marks.size(); i++) {
    const double at = kTop + height * (1 - y.at(y.marks[i]));
    svg += format(
        "<path class=\"{}\" d=\"M{:.1f} {:.1f}H{:.1f}\"/><text class=\"t e\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
        y.marks[i] == 0 ? "z" : "g", left, at, right, left - 8, at + 4, y.labels[i]);
  }
  for (size_t i = 0; i < x.marks.size(); i++) {
    const double at = left + width * x.at(x.marks[i]);
    svg += format("<path class=\"x\" d=\"M{:.1f} {:.1f}v5\"/><text class=\"t c\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                  at, bottom, at, bottom + 19, x.labels[i]);
  }
  svg += format("<path class=\"x\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left, bottom, right);
  if (!chart.x_label.empty())
    svg += format("<text class=\"a e\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", right, page - 6,
                  html_escaped(chart.x_label));
  if (empty)
    svg +=
        format("<text class=\"a c\" x=\"{:.1f}\" y=\"{:.1f}\">no data</text>\n", left + width / 2, kTop + height / 2);
  // The first series lies on top: it is the one that the chart is about.
  for (size_t i = chart.series.size(); i-- > 0;) svg += curve(chart, i, x, y, left, width, height);
  return svg + "</svg>";
}

std::string legend_of(const Chart& chart) {
  if (chart.series.empty() || (chart.series.size() == 1 && chart.series[0].name.empty())) return "";
  std::string html = "<ul class=\"legend\">";
  for (size_t i = 0; i < chart.series.size(); i++) {
    const bool faint = chart.series[i].faint;
    html += format(
        "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"l {}s{}\" d=\"M1 6H27\"/>{}</svg>{}</li>",
        faint ? "f " : "", i % kColours, faint ? "" : marker(i, 14, 6), html_escaped(chart.series[i].name));
  }
  return html + "</ul>";
}

}  // namespace dr
