// The one translation unit of kernels/ that compiles libfmt itself.
#define FMT_HEADER_ONLY
#include <fmt/format.h>

#include "kernels/core/check.h"

namespace dr {

std::string vformat(fmt::string_view text, fmt::format_args args) { return fmt::vformat(text, args); }

void vfail(fmt::string_view text, fmt::format_args args) { throw Error(fmt::vformat(text, args)); }

}  // namespace dr
