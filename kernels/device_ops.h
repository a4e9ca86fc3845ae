#pragma once
// The ops that have device kernels, in their .cu. An op that is not named here runs on the CPU alone.

namespace dr {

template <class O>
inline constexpr bool has_device_kernels = false;

#define DR_ON_DEVICES(Name) \
  struct Name;              \
  template <>               \
  inline constexpr bool has_device_kernels<Name> = true;

DR_ON_DEVICES(AdaLN)
DR_ON_DEVICES(Add)
DR_ON_DEVICES(DeformableAttention)
DR_ON_DEVICES(DepthWarp)
DR_ON_DEVICES(Gelu)
DR_ON_DEVICES(GridSample)
DR_ON_DEVICES(InverseWarp)
DR_ON_DEVICES(MatMul)
DR_ON_DEVICES(ProjectDepth)
DR_ON_DEVICES(PushPull)
DR_ON_DEVICES(RayCast)
DR_ON_DEVICES(Resize2d)
DR_ON_DEVICES(Ssim)

#undef DR_ON_DEVICES

}  // namespace dr
