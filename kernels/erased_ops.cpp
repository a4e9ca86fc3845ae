// Every op behind AnyOp.

#include "kernels/core/erased_op.h"
#include "kernels/op_list.h"

namespace dr {

Shapes AnyOp::infer_grad(Views in, int leaves) const {
  Shapes shapes;
  for (std::string_view field : grad_names()) {
    const View& v = in[size_t(find(in_names(), field))];
    TensorSpec spec{v.dtype, is_floating(v.dtype) ? v.sizes : Sizes{}};
    if (v.present() && in_shared(field)) {
      CHECK(v.rank() < kMaxRank, "{}: shared input {} has no axis left for leaves", name(), field);
      spec = {DType::f32, Sizes{leaves}};
      for (int i = 0; i < v.rank(); i++) spec.sizes.d[spec.sizes.rank++] = v.size(i);
    }
    shapes.push_back(spec);
  }
  return shapes;
}

// Naming a function is what makes the compiler write it.
template <class... O>
auto erasers(OpList<O...>) {
  return std::tuple(&erase<O>...);
}
template auto erasers(AllOps);

}  // namespace dr
