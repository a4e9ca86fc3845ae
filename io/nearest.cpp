#include "io/nearest.h"

#include <algorithm>
#include <numeric>

namespace dr {

namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view written, const std::vector<std::string>& names) {
  std::string best;
  size_t distance = SIZE_MAX;
  for (const std::string& name : names)
    if (const size_t d = edit_distance(written, name); d < distance) distance = d, best = name;
  return best;
}

}  // namespace dr
