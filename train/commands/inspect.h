#pragma once
// What inspect finds in a file or a folder, as people read it, as scripts read it, and as a report shows it.

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/log.h"
#include "io/report.h"

namespace dr::cli {

using Rows = std::vector<std::vector<std::string>>;

struct Contents {
  std::string text;
  nlohmann::ordered_json json;
  std::function<void(Report&)> draw;  // what the report shows; called only where one is written, for it reads the data
  std::string kind = {};              // "segment", "png", ...
};

// The table of a file or a folder, from headers alone. Throws where it is of no kind that is known.
Contents inspect_path(const std::string& path);

// ---- driving logs: inspect_drive.cpp ----

// A folder: KITTI-style, comma2k19's, or of segments. Throws, naming these, where it is none.
Contents inspect_folder(const std::string& path);
// What a segment says beyond its tensors.
Contents inspect_segment(const std::string& path);

// ---- pictures: inspect_pictures.cpp ----

// The indices of up to `wanted` of n things, from the first to the last, evenly apart.
std::vector<int64_t> evenly(int64_t n, int64_t wanted);
// Frames in the order of time under their heads, as many strips of `columns` as they need, as wide as the page.
void storyboard(Report& report, Filmstrip strip, size_t columns = 3);
// One image at the width of the page, small ones up to four times as large.
void picture(Report& report, const std::string& caption, Image image);
// Colours and what they stand for.
void colour_key(Report& report, const std::string& caption, std::span<const std::string> names, std::span<const Image> colours);
void depth_key(Report& report);

// As curves, pictures or frames where the shape allows: (N) and (N,1 to 6), (H,W), (H,W,3), (T,H,W), (T,H,W,3).
void draw_array(Report& report, const StoredArray& array);
// Curves over "step", or over the records' numbers without it, of every number in them; one level of objects included.
void draw_records(Report& report, const std::vector<nlohmann::json>& records);

}  // namespace dr::cli
