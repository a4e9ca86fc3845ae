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
DR_ON_DEVICES(AdamW)
DR_ON_DEVICES(Add)
DR_ON_DEVICES(BatchNorm)
DR_ON_DEVICES(BatchNormRunning)
DR_ON_DEVICES(ChannelCapacity)
DR_ON_DEVICES(ClipScale)
DR_ON_DEVICES(CumSum)
DR_ON_DEVICES(Ema)
DR_ON_DEVICES(Gelu)
DR_ON_DEVICES(GradNorm)
DR_ON_DEVICES(GroupNormSilu)
DR_ON_DEVICES(LambdaReturns)
DR_ON_DEVICES(LayerNorm)
DR_ON_DEVICES(MatMul)
DR_ON_DEVICES(PercentileEma)
DR_ON_DEVICES(QkNormRotary)
DR_ON_DEVICES(Reduce)
DR_ON_DEVICES(RmsNorm)
DR_ON_DEVICES(Rotary)
DR_ON_DEVICES(RotaryTable)
DR_ON_DEVICES(Softmax)
DR_ON_DEVICES(SqueezeExcite)

#undef DR_ON_DEVICES

}  // namespace dr
