#pragma once
// Every op, once. Tests, audit, bench, --list-ops and the profiler loop over AllOps, so what is not named here does not
// exist and what is named here must be complete: a missing piece is a compile error that names it.

#include "kernels/adaln/adaln.h"
#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm_running/batch_norm_running.h"
#include "kernels/bernoulli_nll/bernoulli_nll.h"
#include "kernels/block_gru/block_gru.h"
#include "kernels/block_linear/block_linear.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/categorical/categorical.h"
#include "kernels/categorical_kl/categorical_kl.h"
#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/core/any_op.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cumsum/cumsum.h"
#include "kernels/deformable_attention/deformable_attention.h"
#include "kernels/depth_warp/depth_warp.h"
#include "kernels/ema/ema.h"
#include "kernels/embedding/embedding.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/float_to_image/float_to_image.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gather/gather.h"
#include "kernels/gelu/gelu.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/grid_sample/grid_sample.h"
#include "kernels/group_norm_silu/group_norm_silu.h"
#include "kernels/gru_cell/gru_cell.h"
#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/inverse_warp/inverse_warp.h"
#include "kernels/lambda_returns/lambda_returns.h"
#include "kernels/laplace_nll/laplace_nll.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/max_pool2d/max_pool2d.h"
#include "kernels/mhp_laplace/mhp_laplace.h"
#include "kernels/mul/mul.h"
#include "kernels/patchify/patchify.h"
#include "kernels/percentile_ema/percentile_ema.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/project_depth/project_depth.h"
#include "kernels/push_pull/push_pull.h"
#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/qkv_attention/qkv_attention.h"
#include "kernels/ray_cast/ray_cast.h"
#include "kernels/reduce/reduce.h"
#include "kernels/relu/relu.h"
#include "kernels/resize2d/resize2d.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rotary_table/rotary_table.h"
#include "kernels/scatter_add/scatter_add.h"
#include "kernels/silu/silu.h"
#include "kernels/slice/slice.h"
#include "kernels/smooth_l1/smooth_l1.h"
#include "kernels/softmax/softmax.h"
#include "kernels/squeeze_excite/squeeze_excite.h"
#include "kernels/ssim/ssim.h"
#include "kernels/symlog/symlog.h"
#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"
#include "kernels/two_hot_mean/two_hot_mean.h"
#include "kernels/unpatchify/unpatchify.h"
#include "kernels/yuv420_pack/yuv420_pack.h"

namespace dr {

template <Op... O>
struct OpList {};

using AllOps = OpList<
    AdaLN,
    AdaLNLinear,
    AdaLNMlp,
    AdamW,
    Add,
    Attention,
    AttentionDecode,
    AvgPool2d,
    BatchNorm,
    BatchNormRunning,
    BernoulliNll,
    BlockGru,
    BlockLinear,
    Categorical,
    CategoricalKl,
    ChannelCapacity,
    ClipScale,
    Concat,
    Conv2d,
    CrossEntropy,
    CumSum,
    DeformableAttention,
    DepthWarp,
    Ema,
    Embedding,
    EulerStep,
    FloatToImage,
    FlowLoss,
    FlowMix,
    GatedResidual,
    Gather,
    GaussianBottleneck,
    Gelu,
    GradNorm,
    GridSample,
    GroupNormSilu,
    GruCell,
    GuidedEulerStep,
    ImageToFloat,
    InverseWarp,
    LambdaReturns,
    LaplaceNll,
    LayerNorm,
    Linear,
    LinearGatedResidual,
    LinearGelu,
    MatMul,
    MaxPool2d,
    MhpLaplace,
    Mul,
    Patchify,
    PercentileEma,
    PhiloxFill,
    ProjectDepth,
    PushPull,
    QkNormRotary,
    QkvAttention,
    RayCast,
    Reduce,
    Relu,
    Resize2d,
    RmsNorm,
    Rotary,
    RotaryTable,
    ScatterAdd,
    Silu,
    Slice,
    SmoothL1,
    Softmax,
    SqueezeExcite,
    Ssim,
    SymLog,
    TwoHotCrossEntropy,
    TwoHotMean,
    Unpatchify,
    Yuv420Pack
>;

}  // namespace dr
