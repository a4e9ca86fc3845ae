#include <cmath>

#include "kernels/symlog/symlog.h"

namespace dr {

void SymLog::reference(const In& in, const Out& out, const Out& bound) const {
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double x = in.x.as<double>()[i], a = std::fabs(x);
    const double y = std::copysign(kind == SymLogKind::symlog ? std::log1p(a) : std::expm1(a), x);
    out.y.as<double>()[i] = y;
    bound.y.as<double>()[i] = std::isinf(y) ? 0 : std::fabs(y);  // correctly rounded
  }
}

}  // namespace dr
