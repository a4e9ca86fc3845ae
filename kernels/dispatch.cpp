// From a backend to its bodies: of every op, of hash_run, and of what else a device does. The one file that is compiled for
// a list of instruction sets and devices, DR_WITH_<name> each.

#include "kernels/core/dispatch.h"

#include "kernels/core/backends.h"
#include "kernels/core/device_api.h"
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

DeviceApi* device_api([[maybe_unused]] Backend backend) {
#ifdef DR_WITH_simt
  if (backend == Backend::simt) return &device_api_of<Backend::simt>();
#endif
#ifdef DR_WITH_cuda
  if (backend == Backend::cuda) return &device_api_of<Backend::cuda>();
#endif
#ifdef DR_WITH_hip
  if (backend == Backend::hip) return &device_api_of<Backend::hip>();
#endif
  return nullptr;
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
