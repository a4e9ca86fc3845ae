#include "io/report.h"

#include "io/file.h"
#include "kernels/core/check.h"

namespace dr {
namespace {

// Series colours keep a contrast of 3:1 with the page and stay apart for the three kinds of colour blindness.
constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--page:#fff;--ink:#1c2127;--soft:#5b6570;--line:#d9dee3;--faint:#eceff2;--panel:#f7f8fa;
--c0:#2563c9;--c1:#a33505;--c2:#12a37c;--c3:#c765b4;--c4:#a0930f;--c5:#33404d}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e4e8ec;--soft:#9aa4ae;--line:#343b43;--faint:#242a30;
--panel:#1a1e23;--c0:#5b9bf5;--c1:#f0763f;--c2:#74e3b3;--c3:#d07fc4;--c4:#f2d24a;--c5:#dbe3ec}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:56rem;margin:0 auto;padding:3.5rem 1.5rem 5rem}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.015em;font-weight:650;margin:0}
h2{font-size:1.35rem;line-height:1.3;letter-spacing:-.01em;font-weight:650;margin:3.25rem 0 .75rem;padding-top:1.25rem;
border-top:1px solid var(--line)}
h3{font-size:1.05rem;font-weight:650;margin:2rem 0 .5rem}
p{margin:.6rem 0;max-width:44rem;white-space:pre-line}
.sub{color:var(--soft);margin:.4rem 0 0;font-size:1.05rem}
header{margin:0 0 1.75rem}
nav{margin:1.25rem 0 0}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}
nav a{color:var(--c0);text-decoration:none}
nav a:hover{text-decoration:underline}
figure{margin:1.75rem 0}
figcaption{font-weight:600;margin:0 0 .5rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9375rem;line-height:1.4}
th,td{padding:.4rem 1.5rem .4rem 0;text-align:left;vertical-align:top}
th:last-child,td:last-child{padding-right:0}
.r{text-align:right}
thead th{color:var(--soft);font-weight:500;font-size:.8125rem;vertical-align:bottom;border-bottom:1px solid var(--line)}
tbody tr+tr>*{border-top:1px solid var(--faint)}
td.r{white-space:nowrap}
.chart svg[role]{display:block;width:100%;max-width:51rem;height:auto}
.legend{list-style:none;margin:0 0 .6rem;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.5rem}
.legend svg{width:28px;height:12px;flex:none}
.legend .f{stroke-width:4}
.l{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.f{stroke-width:1;opacity:.4}
.m{fill:var(--c);stroke:var(--page);stroke-width:1.2}
.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--c4)}.s5{--c:var(--c5)}
.g{stroke:var(--faint);stroke-width:1}
.z{stroke:var(--line);stroke-width:1}
.x{stroke:var(--soft);stroke-width:1;fill:none}
svg text{font-size:12px;fill:var(--soft)}
svg .a{fill:var(--ink);font-size:12.5px}
.e{text-anchor:end}.c{text-anchor:middle}
.strip{border-collapse:separate;border-spacing:4px;margin:0 -4px;font-size:.8125rem}
.strip th,.strip td{padding:0;border:0!important;vertical-align:middle}
.strip thead th{padding:0 0 .15rem;text-align:center;color:var(--soft);font-weight:500}
.strip tbody th{padding-right:.75rem;font-weight:500;position:sticky;left:0;background:var(--page);white-space:nowrap}
.strip img{display:block;border-radius:3px;background:var(--panel);max-width:none}
@media(max-width:40rem){main{padding:2rem 1rem 3rem}h1{font-size:1.6rem}.chart svg[role]{min-width:42rem}}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure,tr{break-inside:avoid}nav{display:none}}
)";

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string s;
  s.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t v = 0;
    for (size_t k = 0; k < 3; k++) v = v << 8 | (k < n ? uint8_t(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; k++) s += k <= n ? kDigits[v >> (18 - 6 * k) & 63] : '=';
  }
  return s;
}

std::string caption_of(const std::string& text) {
  return text.empty() ? "" : "<figcaption>" + html_escaped(text) + "</figcaption>\n";
}

}  // namespace

void Report::heading(std::string_view text) {
  sections_.push_back(html_escaped(text));
  body_ += format("<h2 id=\"s{}\">{}</h2>\n", sections_.size(), sections_.back());
}

void Report::subheading(std::string_view text) { body_ += "<h3>" + html_escaped(text) + "</h3>\n"; }

void Report::paragraph(std::string_view text) { body_ += "<p>" + html_escaped(text) + "</p>\n"; }

void Report::table(const ReportTable& t) {
  const auto side = [&](size_t i) { return t.columns[i] == 'r' ? " class=\"r\"" : ""; };
  const auto check = [&](size_t n) {
    CHECK(n == t.columns.size(), "report: a row of {} cells in the table '{}' of {} columns", n, t.caption,
          t.columns.size());
  };
  body_ += "<figure>" + caption_of(t.caption) + "<div class=\"scroll\"><table>";
  if (!t.header.empty()) {
    check(t.header.size());
    body_ += "<thead><tr>";
    for (size_t i = 0; i < t.header.size(); i++)
      body_ += format("<th scope=\"col\"{}>{}</th>", side(i), html_escaped(t.header[i]));
    body_ += "</tr></thead>\n";
  }
  body_ += "<tbody>\n";
  for (const auto& row : t.rows) {
    check(row.size());
    body_ += "<tr>";
    for (size_t i = 0; i < row.size(); i++) body_ += format("<td{}>{}</td>", side(i), html_escaped(row[i]));
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div></figure>\n";
}

void Report::curves(const Chart& chart) {
  body_ += "<figure class=\"chart\">" + caption_of(chart.title) + legend_of(chart) + "<div class=\"scroll\">" +
           svg_of(chart) + "</div></figure>\n";
}

void Report::filmstrip(const Filmstrip& strip) {
  CHECK(strip.zoom > 0, "report: a filmstrip with zoom {}; accepted: above 0", strip.zoom);
  bool labels = false;
  for (const Filmstrip::Row& row : strip.rows) labels |= !row.label.empty();
  body_ += "<figure>" + caption_of(strip.caption) + "<div class=\"scroll\"><table class=\"strip\">";
  if (!strip.heads.empty()) {
    body_ += labels ? "<thead><tr><th></th>" : "<thead><tr>";
    for (const std::string& head : strip.heads) body_ += "<th scope=\"col\">" + html_escaped(head) + "</th>";
    body_ += "</tr></thead>\n";
  }
  body_ += "<tbody>\n";
  for (const Filmstrip::Row& row : strip.rows) {
    body_ += "<tr>";
    if (labels) body_ += "<th scope=\"row\">" + html_escaped(row.label) + "</th>";
    for (size_t i = 0; i < row.frames.size(); i++) {
      const Image& m = row.frames[i];
      const bool exact = strip.jpeg_quality == 0;
      const std::string head = i < strip.heads.size() ? strip.heads[i] : "";
      body_ += format("<td><img width=\"{:.0f}\" height=\"{:.0f}\" alt=\"{}\" src=\"data:image/{};base64,{}\"></td>\n",
                      m.width * strip.zoom, m.height * strip.zoom, html_escaped(row.label + " " + head),
                      exact ? "png" : "jpeg", base64(exact ? encode_png(m) : encode_jpeg(m, strip.jpeg_quality)));
    }
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div></figure>\n";
}

std::string Report::html() const {
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n";
  page +=
      "<title>" + html_escaped(title_) + "</title>\n<style>" + std::string(kStyle) + "</style></head>\n<body><main>\n";
  page += "<header><h1>" + html_escaped(title_) + "</h1>\n";
  if (!subtitle_.empty()) page += "<p class=\"sub\">" + html_escaped(subtitle_) + "</p>\n";
  if (sections_.size() > 2) {
    page += "<nav><ol>";
    for (size_t i = 0; i < sections_.size(); i++)
      page += format("<li><a href=\"#s{}\">{}</a></li>", i + 1, sections_[i]);
    page += "</ol></nav>\n";
  }
  return page + "</header>\n" + body_ + "</main></body></html>\n";
}

void Report::write(const std::string& path) const { write_file(path, html()); }

}  // namespace dr
