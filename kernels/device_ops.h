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
DR_ON_DEVICES(AdaLNLinear)
DR_ON_DEVICES(AdaLNMlp)
DR_ON_DEVICES(Add)
DR_ON_DEVICES(Attention)
DR_ON_DEVICES(AttentionDecode)
DR_ON_DEVICES(BlockGru)
DR_ON_DEVICES(BlockLinear)
DR_ON_DEVICES(Conv2d)
DR_ON_DEVICES(Gelu)
DR_ON_DEVICES(GruCell)
DR_ON_DEVICES(Linear)
DR_ON_DEVICES(LinearGatedResidual)
DR_ON_DEVICES(LinearGelu)
DR_ON_DEVICES(MatMul)
DR_ON_DEVICES(QkNormRotary)
DR_ON_DEVICES(QkvAttention)

#undef DR_ON_DEVICES

}  // namespace dr
