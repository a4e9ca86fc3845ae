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
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/core/any_op.h"
#include "kernels/embedding/embedding.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gelu/gelu.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/patchify/patchify.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/ray_cast/ray_cast.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rotary_table/rotary_table.h"
#include "kernels/silu/silu.h"
#include "kernels/softmax/softmax.h"
#include "kernels/unpatchify/unpatchify.h"

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
    ChannelCapacity,
    ClipScale,
    Embedding,
    EulerStep,
    FlowLoss,
    FlowMix,
    GatedResidual,
    GaussianBottleneck,
    Gelu,
    GradNorm,
    GuidedEulerStep,
    LayerNorm,
    Linear,
    LinearGatedResidual,
    LinearGelu,
    MatMul,
    Patchify,
    PhiloxFill,
    QkNormRotary,
    RayCast,
    RmsNorm,
    Rotary,
    RotaryTable,
    Silu,
    Softmax,
    Unpatchify
>;

}  // namespace dr
