#pragma once
// Line curves as SVG, for the report: axes, ticks, grid, and a marker's shape beside each colour.

#include <string>
#include <vector>

namespace dr {

struct Series {
  std::string name;
  std::vector<double> x, y;  // as many of each; a value that is not finite is a gap
  bool faint = false;        // a thin line without markers: the noisy values behind their average
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool log_y = false;  // values of 0 and below are gaps
  bool map = false;    // one scale on both axes and y downwards: seen from above, x forward and y right
};

// Colours and sizes are classes, which the report's style sheet defines: series k has class s{k % 6}.
std::string svg_of(const Chart& chart);
std::string legend_of(const Chart& chart);  // an HTML list; empty for one series without a name

// Up to about `wanted` round numbers (1, 2 or 5 times a power of ten apart) from low to high.
std::vector<double> ticks(double low, double high, int wanted);
// Ticks as they are written, all with the decimals that their distance needs.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

// Text between tags or in quotes; what is no UTF-8 or no character becomes U+FFFD.
std::string html_escaped(std::string_view text);

}  // namespace dr
