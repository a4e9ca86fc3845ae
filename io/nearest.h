#pragma once
// "unknown op 'adalm'; did you mean 'adaln'?": the valid name closest to what a user wrote.

#include <string>
#include <string_view>
#include <vector>

namespace dr {

// The name with the smallest edit distance (insertions, deletions, substitutions; ties to the first); empty for no
// names.
std::string nearest(std::string_view written, const std::vector<std::string>& names);

}  // namespace dr
