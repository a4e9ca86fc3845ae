#include "kernels/concat/concat.h"

#include "kernels/core/strided_runs.h"

namespace dr {
namespace DR_ISA {
namespace {

// f(part of y, x) for each tensor of `list`; an absent one of `in` has no part.
template <class F>
void for_parts(const Concat& op, const View& y, const Concat::In& in, F&& f) {
  int64_t begin = 0;
  const int axis = op.axis_of(y.rank());
  const auto xs = views(in);
  for (size_t i = 0; i < xs.size(); i++) {
    if (!xs[i]->present()) continue;
    f(i, y.slice(axis, begin, xs[i]->size(axis)));
    begin += xs[i]->size(axis);
  }
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Concat::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for_parts(*this, out.y, in, [&](size_t i, const View& part) { copy_view(ctx, *views(in)[i], part, out.y); });
}

template <>
void Concat::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  for_parts(*this, dy.y, in, [&](size_t i, const View& part) {
    const View& dx = *views(grad)[i];
    if (dx) copy_view(ctx, part, dx);
  });
}

}  // namespace dr
