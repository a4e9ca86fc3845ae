#pragma once
// Every op, once. Tests, audit, bench, --list-ops and the profiler loop over AllOps, so what is not named here does not
// exist and what is named here must be complete: a missing piece is a compile error that names it.

#include "kernels/adaln/adaln.h"
#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/block_gru/block_gru.h"
#include "kernels/block_linear/block_linear.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/concat/concat.h"
#include "kernels/core/any_op.h"
#include "kernels/cumsum/cumsum.h"
#include "kernels/ema/ema.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gather/gather.h"
#include "kernels/gelu/gelu.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/gru_cell/gru_cell.h"
#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/lambda_returns/lambda_returns.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/mul/mul.h"
#include "kernels/percentile_ema/percentile_ema.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/reduce/reduce.h"
#include "kernels/scatter_add/scatter_add.h"
#include "kernels/slice/slice.h"

namespace dr {

template <Op... O>
struct OpList {};

using AllOps = OpList<
    AdaLN,
    AdamW,
    Add,
    Attention,
    AttentionDecode,
    BlockGru,
    BlockLinear,
    ChannelCapacity,
    ClipScale,
    Concat,
    CumSum,
    Ema,
    EulerStep,
    FlowLoss,
    FlowMix,
    GatedResidual,
    Gather,
    GaussianBottleneck,
    Gelu,
    GradNorm,
    GruCell,
    GuidedEulerStep,
    LambdaReturns,
    LayerNorm,
    Linear,
    LinearGatedResidual,
    LinearGelu,
    MatMul,
    Mul,
    PercentileEma,
    PhiloxFill,
    Reduce,
    ScatterAdd,
    Slice
>;

}  // namespace dr
