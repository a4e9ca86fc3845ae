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
DR_ON_DEVICES(AvgPool2d)
DR_ON_DEVICES(BatchNorm)
DR_ON_DEVICES(BatchNormRunning)
DR_ON_DEVICES(BernoulliNll)
DR_ON_DEVICES(Categorical)
DR_ON_DEVICES(CategoricalKl)
DR_ON_DEVICES(ChannelCapacity)
DR_ON_DEVICES(ClipScale)
DR_ON_DEVICES(Concat)
DR_ON_DEVICES(CrossEntropy)
DR_ON_DEVICES(CumSum)
DR_ON_DEVICES(DeformableAttention)
DR_ON_DEVICES(DepthWarp)
DR_ON_DEVICES(Ema)
DR_ON_DEVICES(Embedding)
DR_ON_DEVICES(EulerStep)
DR_ON_DEVICES(FloatToImage)
DR_ON_DEVICES(FlowLoss)
DR_ON_DEVICES(FlowMix)
DR_ON_DEVICES(GatedResidual)
DR_ON_DEVICES(Gather)
DR_ON_DEVICES(GaussianBottleneck)
DR_ON_DEVICES(Gelu)
DR_ON_DEVICES(GradNorm)
DR_ON_DEVICES(GridSample)
DR_ON_DEVICES(GroupNormSilu)
DR_ON_DEVICES(GuidedEulerStep)
DR_ON_DEVICES(ImageToFloat)
DR_ON_DEVICES(InverseWarp)
DR_ON_DEVICES(LambdaReturns)
DR_ON_DEVICES(LaplaceNll)
DR_ON_DEVICES(LayerNorm)
DR_ON_DEVICES(MatMul)
DR_ON_DEVICES(MaxPool2d)
DR_ON_DEVICES(MhpLaplace)
DR_ON_DEVICES(Mul)
DR_ON_DEVICES(Patchify)
DR_ON_DEVICES(PercentileEma)
DR_ON_DEVICES(PhiloxFill)
DR_ON_DEVICES(ProjectDepth)
DR_ON_DEVICES(PushPull)
DR_ON_DEVICES(QkNormRotary)
DR_ON_DEVICES(RayCast)
DR_ON_DEVICES(Reduce)
DR_ON_DEVICES(Relu)
DR_ON_DEVICES(Resize2d)
DR_ON_DEVICES(RmsNorm)
DR_ON_DEVICES(Rotary)
DR_ON_DEVICES(RotaryTable)
DR_ON_DEVICES(ScatterAdd)
DR_ON_DEVICES(Silu)
DR_ON_DEVICES(Slice)
DR_ON_DEVICES(SmoothL1)
DR_ON_DEVICES(Softmax)
DR_ON_DEVICES(SqueezeExcite)
DR_ON_DEVICES(Ssim)
DR_ON_DEVICES(SymLog)
DR_ON_DEVICES(TwoHotCrossEntropy)
DR_ON_DEVICES(TwoHotMean)
DR_ON_DEVICES(Unpatchify)
DR_ON_DEVICES(Yuv420Pack)

#undef DR_ON_DEVICES

}  // namespace dr
