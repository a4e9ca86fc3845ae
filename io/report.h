#pragma once
// A report as one HTML file: no scripts, nothing loaded from elsewhere, light or dark as the reader's system is.

#include <string>
#include <vector>

#include "io/chart.h"
#include "io/image.h"

namespace dr {

struct ReportTable {
  std::string caption;
  std::string columns;  // a letter for each, 'l' or 'r': the side where it is flush; numbers go right
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

// Pictures side by side under a heading each, in rows that are compared with one another ("true", "generated").
struct Filmstrip {
  struct Row {
    std::string label;
    std::vector<Image> frames;
  };
  std::string caption;
  std::vector<std::string> heads;  // of the columns: "0.2 s"; may be empty
  std::vector<Row> rows;
  int jpeg_quality = 0;  // 0: PNG, exact
  double zoom = 1;       // of a pixel
};

class Report {
 public:
  explicit Report(std::string title, std::string subtitle = "")
      : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

  void heading(std::string_view text);  // begins a section, listed under the title
  void subheading(std::string_view text);
  void paragraph(std::string_view text);
  void table(const ReportTable& table);
  void curves(const Chart& chart);
  void filmstrip(const Filmstrip& strip);

  std::string html() const;
  void write(const std::string& path) const;

 private:
  std::string title_, subtitle_, body_;
  std::vector<std::string> sections_;
};

}  // namespace dr
