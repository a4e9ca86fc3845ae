// The report: one well-formed page that loads nothing, whatever text it is given; and its curves.

#include "io/report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/text.h"
#include "tests/io_files.h"
#include "tests/io_samples.h"

namespace dr::test {
namespace {

size_t occurrences(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t i = text.find(part); i != text.npos; i = text.find(part, i + part.size())) n++;
  return n;
}

// Every tag that is opened is closed, in order. Returns what is wrong, or nothing.
std::string unbalanced(const std::string& html) {
  std::vector<std::string> open;
  for (size_t i = html.find('<'); i != html.npos; i = html.find('<', i + 1)) {
    const size_t end = html.find('>', i);
    if (end == html.npos) return "a tag without end";
    const std::string tag = html.substr(i + 1, end - i - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /\n", 1));
    if (tag[0] == '!' || name == "meta" || name == "img" || tag.back() == '/') continue;
    if (tag[0] != '/') open.push_back(name);
    else if (open.empty() || "/" + open.back() != tag) return "unexpected <" + tag + ">";
    else open.pop_back();
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

Report whole(const std::string& text) {
  Report r(text, text);
  for (int i = 0; i < 3; i++) r.heading(text);
  r.subheading(text);
  r.paragraph(text);
  r.table({text, "lr", {text, text}, {{text, text}}});
  r.curves({text, text, text, {{text, {0, 1}, {0, 1}}, {text, {0, 1}, {1, 0}, true}}});
  r.filmstrip({text, {text}, {{text, {Image{2, 1, 3, {1, 2, 3, 4, 5, 6}}}}}});
  return r;
}

TEST(Report, IsWellFormedAndLoadsNothing) {
  for (const char* text : {"plain", "<script>alert('x')</script>", "\"'><img src=x onerror=y>", "&amp;",
                           "a\x01\xff\xc3", "</style></title>", "\xf0\x9f\x9a\x97"}) {
    const std::string html = whole(text).html();
    EXPECT_EQ(unbalanced(html), "") << text;
    EXPECT_TRUE(is_utf8(html)) << text;
    EXPECT_EQ(occurrences(html, "<script"), 0u);
    EXPECT_EQ(occurrences(html, "<img"), 1u) << text;
    EXPECT_EQ(occurrences(html, "src=\"data:image/png;base64,"), 1u);
    EXPECT_EQ(occurrences(html, "://"), 0u);
    EXPECT_EQ(occurrences(html, "url("), 0u);
  }
  EXPECT_EQ(occurrences(whole("<b>&\"'").html(), "&lt;b&gt;&amp;&quot;&#39;"), 29u);
}

TEST(Report, SameContentSameBytes) {
  Folder folder;
  whole("a").write(folder.file("r.html"));
  EXPECT_EQ(folder.read("r.html"), whole("a").html());
}

TEST(Report, EmbedsImagesExactly) {
  Image m{5, 3, 3, {}};
  for (int i = 0; i < 45; i++) m.pixels.push_back(uint8_t(i * 5));
  Report r("t");
  r.filmstrip({"", {}, {{"true", {m}}}});
  const std::string html = r.html(), begin = "base64,";
  const std::string_view data = std::string_view(html).substr(html.find(begin) + begin.size());
  EXPECT_EQ(decode_image(base64_decoded(data.substr(0, data.find('"'))), "embedded").pixels, m.pixels);
  Report lossy("t");
  lossy.filmstrip({"", {}, {{"true", {m}}}, 80, 2});
  EXPECT_TRUE(holds(lossy.html(), "<img width=\"10\" height=\"6\" alt=\"true \" src=\"data:image/jpeg;base64,/9j/"));
}

TEST(Report, RefusesRowsThatDoNotFit) {
  Report r("t");
  EXPECT_EQ(error_of([&] {
              r.table({"scores", "lr", {}, {{"a", "1"}, {"b"}}});
            }),
            "report: a row of 1 cells in the table 'scores' of 2 columns");
  EXPECT_TRUE(holds(error_of([&] { r.curves({"loss", "", "", {{"a", {1, 2}, {1}}}}); }), "series 'a' has 2 x and 1 y"));
}

// WCAG's relative luminance and contrast.
double luminance(const std::string& colour) {
  const auto channel = [&](size_t i) {
    const bool brief = colour.size() == 4;
    const std::string digits = brief ? std::string(2, colour[1 + i]) : colour.substr(1 + 2 * i, 2);
    const double v = std::stoi(digits, nullptr, 16) / 255.0;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2);
}
double contrast(const std::string& a, const std::string& b) {
  const double x = luminance(a) + 0.05, y = luminance(b) + 0.05;
  return std::max(x, y) / std::min(x, y);
}

TEST(Report, IsReadableInLightAndDark) {
  const std::string html = Report("t").html();
  const size_t dark = html.find("prefers-color-scheme:dark");
  ASSERT_NE(dark, html.npos);
  for (const std::string& theme : {html.substr(0, dark), html.substr(dark)}) {
    const auto colour = [&](const std::string& name) {
      const size_t at = theme.find("--" + name + ":") + name.size() + 3;
      return theme.substr(at, theme.find_first_of(";}", at) - at);
    };
    EXPECT_GE(contrast(colour("ink"), colour("page")), 10);
    EXPECT_GE(contrast(colour("soft"), colour("page")), 4.5);
    for (int i = 0; i < 6; i++) EXPECT_GE(contrast(colour(format("c{}", i)), colour("page")), 3) << i;
  }
}

TEST(Chart, TicksAreRound) {
  EXPECT_EQ(ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(ticks(-1, 1, 4), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(tick_labels(ticks(0.1, 0.3, 4)), (std::vector<std::string>{"0.10", "0.15", "0.20", "0.25", "0.30"}));
  EXPECT_EQ(tick_labels(ticks(0, 20'000, 4)), (std::vector<std::string>{"0", "5,000", "10,000", "15,000", "20,000"}));
  EXPECT_EQ(tick_labels(ticks(0, 4000, 4)), (std::vector<std::string>{"0", "1000", "2000", "3000", "4000"}));
  EXPECT_EQ(tick_labels({-2, 0}), (std::vector<std::string>{"\xe2\x88\x92"
                                                            "2",
                                                            "0"}));
  EXPECT_EQ(tick_labels({0, 2e-5}), (std::vector<std::string>{"0", "2e-5"}));
  EXPECT_EQ(tick_labels({0, 3e9}), (std::vector<std::string>{"0", "3e9"}));
  for (double low : {-1e300, -7.3, 0.0, 1e-300})
    for (double range : {1e-12, 0.3, 1e5, 1e300}) {
      const std::vector<double> list = ticks(low, low + range, 6);
      EXPECT_LE(list.size(), 100u);
      for (const std::string& label : tick_labels(list)) EXPECT_LT(label.size(), 20u);
    }
}

// The line of the first series.
std::string path_of(const std::string& svg) {
  const std::string begin = "class=\"l s0\" d=\"";
  const size_t at = svg.find(begin) + begin.size();
  return svg.substr(at, svg.find('"', at) - at);
}

TEST(Chart, DrawsWhatIsThere) {
  const double nan = std::nan("");
  const std::string gap = svg_of({"t", "x", "y", {{"a", {0, 1, 2, 3, 4}, {0, 1, nan, 3, 4}}}});
  EXPECT_EQ(occurrences(path_of(gap), "M"), 2u);
  EXPECT_EQ(occurrences(path_of(gap), "L"), 2u);
  EXPECT_EQ(occurrences(gap, "class=\"m s0\""), 4u);
  for (const Chart& c : {Chart{"t", "", "", {}}, Chart{"t", "", "", {{"a", {nan, 1}, {1, nan}}}},
                         Chart{"t", "", "", {{"a", {0, 1}, {-1, 0}}}, true}}) {
    EXPECT_EQ(occurrences(svg_of(c), "no data"), 1u);
    EXPECT_EQ(occurrences(svg_of(c), "nan"), 0u);
  }
  for (double v : {0.0, 5.0, -1e300, 1e-300}) {  // one point, and a constant
    const std::string svg = svg_of({"t", "", "", {{"a", {v, v}, {v, v}}}});
    EXPECT_EQ(occurrences(svg, "nan") + occurrences(svg, "inf"), 0u) << v;
    EXPECT_EQ(occurrences(svg, "class=\"m s0\""), 2u);
  }
  const std::string log = svg_of({"t", "", "", {{"a", {0, 1, 2}, {1e-3, 0, 1e3}}}, true});
  EXPECT_TRUE(holds(log, ">0.001<"));
  EXPECT_TRUE(holds(log, ">1000<"));
  EXPECT_EQ(occurrences(log, "class=\"m s0\""), 2u);
}

TEST(Chart, AMapHasOneScaleAndRightIsDown) {
  for (double size : {1.0, 50.0, 3000.0})  // metres: ahead, then to the right
    for (double across : {0.0, 0.2, 1.0, 4.0}) {
      Chart c{"t", "", "", {{"", {0, size, size}, {0, 0, size * across}}}};
      c.map = true;
      const std::string path = path_of(svg_of(c));
      double x[3], y[3];
      ASSERT_EQ(std::sscanf(path.c_str(), "M%lf %lfL%lf %lfL%lf %lf", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2]), 6) << path;
      EXPECT_GT(x[1], x[0]);
      EXPECT_EQ(y[1], y[0]);
      EXPECT_NEAR(y[2] - y[1], across * (x[1] - x[0]), 0.3);
    }
}

TEST(Chart, ALongCurveKeepsItsSpikes) {
  Series s{"a", {}, {}};
  for (int i = 0; i < 100'000; i++) s.x.push_back(i), s.y.push_back(i == 54'321 ? 10 : std::sin(i * 0.001));
  const std::string svg = svg_of({"t", "", "", {s}});
  EXPECT_LT(svg.size(), 60'000u);
  EXPECT_EQ(occurrences(path_of(svg), " 30.0L"), 1u);  // the top of the axis, 0 to 10 in whole steps
}

}  // namespace
}  // namespace dr::test
