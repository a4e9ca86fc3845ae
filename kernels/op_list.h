#pragma once
// Every op, once. Tests, audit, bench, --list-ops and the profiler loop over AllOps, so what is not named here does not
// exist and what is named here must be complete: a missing piece is a compile error that names it.

#include "kernels/adaln/adaln.h"
#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm_running/batch_norm_running.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/core/any_op.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gelu/gelu.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/group_norm_silu/group_norm_silu.h"
#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/squeeze_excite/squeeze_excite.h"

namespace dr {

template <Op... O>
struct OpList {};

using AllOps = OpList<
    AdaLN,
    AdamW,
    Add,
    Attention,
    AttentionDecode,
    AvgPool2d,
    BatchNorm,
    BatchNormRunning,
    ChannelCapacity,
    ClipScale,
    Conv2d,
    EulerStep,
    FlowLoss,
    FlowMix,
    GatedResidual,
    GaussianBottleneck,
    Gelu,
    GradNorm,
    GroupNormSilu,
    GuidedEulerStep,
    LayerNorm,
    Linear,
    LinearGatedResidual,
    LinearGelu,
    MatMul,
    PhiloxFill,
    SqueezeExcite
>;

}  // namespace dr
