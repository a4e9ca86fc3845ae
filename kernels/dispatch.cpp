// From a backend to its bodies: of every op, and of hash_run. The one file that is compiled for a list of instruction
// sets, DR_WITH_<name> each.

#include "kernels/core/dispatch.h"

#include "kernels/core/backends.h"
#include "kernels/core/hash.h"
#include "kernels/op_list.h"

namespace dr {

std::vector<Backend> built_backends() {
  return {
#ifdef DR_WITH_avx512
      Backend::avx512,
#endif
#ifdef DR_WITH_avx2
      Backend::avx2,
#endif
#ifdef DR_WITH_portable
      Backend::portable,
#endif
  };
}

TensorHash hash_run(Backend backend, const void* data, DType dtype, int64_t first, int64_t n) {
  return on_backend(backend, [&]<Backend B>() { return hash_run<B>(data, dtype, first, n); });
}

// Naming a function is what makes the compiler write it.
template <Op O>
auto backward_of() {
  if constexpr (DifferentiableOp<O>) return &run_backward<O>;
  else return nullptr;
}
template <class... O>
auto bodies(OpList<O...>) {
  return std::tuple(&run_forward<O>..., backward_of<O>()...);
}
template auto bodies(AllOps);

}  // namespace dr
