#pragma once
// Every op, once. Tests, audit, bench, --list-ops and the profiler loop over AllOps, so what is not named here does not
// exist and what is named here must be complete: a missing piece is a compile error that names it.

#include "kernels/adaln/adaln.h"
#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/attention/attention.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/bernoulli_nll/bernoulli_nll.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/categorical/categorical.h"
#include "kernels/categorical_kl/categorical_kl.h"
#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/core/any_op.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/euler_step/euler_step.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/flow_mix/flow_mix.h"
#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gelu/gelu.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/laplace_nll/laplace_nll.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/mhp_laplace/mhp_laplace.h"
#include "kernels/philox_fill/philox_fill.h"
#include "kernels/smooth_l1/smooth_l1.h"
#include "kernels/symlog/symlog.h"
#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"
#include "kernels/two_hot_mean/two_hot_mean.h"

namespace dr {

template <Op... O>
struct OpList {};

using AllOps = OpList<
    AdaLN,
    AdamW,
    Add,
    Attention,
    AttentionDecode,
    BernoulliNll,
    Categorical,
    CategoricalKl,
    ChannelCapacity,
    ClipScale,
    CrossEntropy,
    EulerStep,
    FlowLoss,
    FlowMix,
    GatedResidual,
    GaussianBottleneck,
    Gelu,
    GradNorm,
    GuidedEulerStep,
    LaplaceNll,
    LayerNorm,
    Linear,
    LinearGatedResidual,
    LinearGelu,
    MatMul,
    MhpLaplace,
    PhiloxFill,
    SmoothL1,
    SymLog,
    TwoHotCrossEntropy,
    TwoHotMean
>;

}  // namespace dr
