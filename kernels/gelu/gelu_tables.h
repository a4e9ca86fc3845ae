#pragma once
// Constants of gelu_math.h. Polynomials interpolate at Chebyshev nodes in 60-digit arithmetic, each coefficient then
// rounded to f32. Row k holds the coefficients of t^k for the pieces n = 0..15: |x| = n h + t with |t| <= h/2. Piece 0
// is an odd function's, made for t >= 0 with the constant term 0, so that small x keep their relative accuracy; piece
// 15 is the limit, from which the function is less than 2^-24 away there.

#include "kernels/core/table.h"

namespace dr {

// erf(x / sqrt(2)): 2^-29 before the coefficients are rounded
inline constexpr float kGeluErfStep = 0.375f, kGeluErfPerStep = 2.6666667f;
alignas(64) DR_TABLE float kGeluErf[7][16] = {
    {0.0f, 0x1.2b5b0ep-2f, 0x1.17ef00p-1f, 0x1.7a9412p-1f, 0x1.bb96e4p-1f, 0x1.e0dfc6p-1f, 0x1.f37b6ep-1f,
     0x1.fb9046p-1f, 0x1.fe9e22p-1f, 0x1.ff9f40p-1f, 0x1.ffe8d2p-1f, 0x1.fffb24p-1f, 0x1.ffff1cp-1f, 0x1.ffffdcp-1f,
     0x1.fffffap-1f, 0x1.000000p+0f},
    {0x1.988454p-1f, 0x1.7cc794p-1f, 0x1.345d60p-1f, 0x1.b1ec62p-2f, 0x1.094086p-2f, 0x1.19bfa4p-3f, 0x1.0402e0p-4f,
     0x1.a0f22ap-6f, 0x1.227212p-7f, 0x1.5f90f8p-9f, 0x1.71b938p-11f, 0x1.51cfc2p-13f, 0x1.0c29d8p-15f, 0x1.71e602p-18f,
     0x1.bb4bb6p-21f, 0.0f},
    {-0x1.4611cep-26f, -0x1.1d95b0p-3f, -0x1.ce8c0ep-3f, -0x1.e829eep-3f, -0x1.8de0c8p-3f, -0x1.0823aap-3f,
     -0x1.24833cp-4f, -0x1.119eecp-5f, -0x1.b3ab1ep-7f, -0x1.28a250p-8f, -0x1.5a9d9cp-10f, -0x1.5c5e26p-12f,
     -0x1.2daee2p-14f, -0x1.c2cfc6p-17f, -0x1.22e90ep-19f, 0.0f},
    {-0x1.105798p-3f, -0x1.b44ddcp-4f, -0x1.67c3cep-5f, 0x1.335534p-6f, 0x1.ba13aep-5f, 0x1.d883fap-5f, 0x1.601a6ap-5f,
     0x1.995a7ap-6f, 0x1.834450p-7f, 0x1.306a42p-8f, 0x1.927136p-10f, 0x1.c2ce6cp-12f, 0x1.ae16f0p-14f, 0x1.5ec074p-16f,
     0x1.ea5cf2p-19f, 0.0f},
    {-0x1.c3dc74p-16f, 0x1.103142p-5f, 0x1.77d078p-5f, 0x1.1a3824p-5f, 0x1.8de3f0p-7f, -0x1.6b2b7ap-8f, -0x1.9233dcp-7f,
     -0x1.62dae0p-7f, -0x1.b3acb2p-8f, -0x1.9ed442p-9f, -0x1.3f894ep-10f, -0x1.96df70p-12f, -0x1.b1a440p-14f,
     -0x1.860266p-16f, -0x1.29aac0p-18f, 0.0f},
    {0x1.4b5d34p-6f, 0x1.b74126p-7f, -0x1.08683ap-12f, -0x1.56d6d8p-7f, -0x1.7e5f04p-7f, -0x1.aeac3ap-8f,
     -0x1.f53024p-11f, 0x1.f4a31ap-10f, 0x1.211468p-9f, 0x1.799a98p-10f, 0x1.68828ap-11f, 0x1.0eccf2p-12f,
     0x1.4ac792p-14f, 0x1.4e7d6ap-16f, 0x1.1b28d4p-18f, 0.0f},
    {-0x1.5ac84ap-10f, -0x1.5710e4p-8f, -0x1.8c1b0ap-8f, -0x1.560dcap-9f, 0x1.533574p-10f, 0x1.6ba468p-9f,
     0x1.0363a6p-9f, 0x1.3b4a92p-11f, -0x1.c580dep-13f, -0x1.945386p-12f, -0x1.15c7fep-12f, -0x1.052f44p-13f,
     -0x1.782c72p-15f, -0x1.b1e874p-17f, -0x1.9a38f0p-19f, 0.0f},
};

// erf(x / sqrt(2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi), the erf form's derivative less 1/2: 2^-27
inline constexpr float kGeluSlopeStep = 0.4296875f, kGeluSlopePerStep = 2.3272727f;
alignas(64) DR_TABLE float kGeluSlope[7][16] = {
    {0.0f, 0x1.4a55bep-2f, 0x1.157686p-1f, 0x1.403010p-1f, 0x1.3a3944p-1f, 0x1.238aa4p-1f, 0x1.106e64p-1f,
     0x1.05fe3cp-1f, 0x1.01c1e8p-1f, 0x1.006b2ap-1f, 0x1.0014dcp-1f, 0x1.000356p-1f, 0x1.000070p-1f, 0x1.00000cp-1f,
     0x1.000002p-1f, 0x1.000000p-1f},
    {0x1.988454p-1f, 0x1.521b18p-1f, 0x1.6438a6p-2f, 0x1.e1b89cp-5f, -0x1.63f356p-4f, -0x1.a92cb0p-4f, -0x1.1196c8p-4f,
     -0x1.f3d1c2p-6f, -0x1.5cab0cp-7f, -0x1.7f2c3ap-9f, -0x1.511c9ap-11f, -0x1.df7c64p-14f, -0x1.155f42p-16f,
     -0x1.0629cep-19f, -0x1.961fbep-23f, 0.0f},
    {-0x1.3e106cp-23f, -0x1.3155d6p-2f, -0x1.8bbcfap-2f, -0x1.0c3e20p-2f, -0x1.4f537ap-4f, 0x1.ae13b8p-6f,
     0x1.91c216p-5f, 0x1.0d2c46p-5f, 0x1.dd2d64p-7f, 0x1.3942bap-8f, 0x1.3e2378p-10f, 0x1.fede6ap-13f, 0x1.487680p-15f,
     0x1.55071cp-18f, 0x1.1f8302p-21f, 0.0f},
    {-0x1.10561cp-2f, -0x1.5467eap-3f, 0x1.d5e5b2p-6f, 0x1.20f0f6p-3f, 0x1.ee73c4p-4f, 0x1.7b94b0p-5f, -0x1.033802p-8f,
     -0x1.0a3504p-6f, -0x1.689f42p-7f, -0x1.2f1bf0p-8f, -0x1.6ff842p-10f, -0x1.547b5ep-12f, -0x1.ed1c18p-15f,
     -0x1.1bbf18p-17f, -0x1.060940p-20f, 0.0f},
    {-0x1.503290p-13f, 0x1.aadfeap-4f, 0x1.a57ffep-4f, 0x1.7bc900p-6f, -0x1.343672p-5f, -0x1.4dbc74p-5f,
     -0x1.14aa22p-6f, 0x1.777e4cp-13f, 0x1.194f54p-8f, 0x1.6fb376p-9f, 0x1.1d95bep-10f, 0x1.3aecb2p-12f,
     0x1.05f8c4p-14f, 0x1.529570p-17f, 0x1.59c0c0p-20f, 0.0f},
    {0x1.f60f3cp-5f, 0x1.c122bep-6f, -0x1.a2f35ep-6f, -0x1.3ea5a6p-5f, -0x1.d5a5eap-7f, 0x1.08c816p-7f, 0x1.66f88cp-7f,
     0x1.2b2934p-8f, 0x1.2a224ap-15f, -0x1.f12896p-11f, -0x1.2d7bf2p-11f, -0x1.aa2f1ep-13f, -0x1.a7da84p-15f,
     -0x1.3c19bcp-17f, -0x1.6ca6bap-20f, 0.0f},
    {-0x1.8ae482p-8f, -0x1.5dcdccp-6f, -0x1.f384e8p-7f, 0x1.2877a0p-8f, 0x1.79654ap-7f, 0x1.3a8140p-8f,
     -0x1.bc446ep-10f, -0x1.490d6ep-9f, -0x1.f421d8p-11f, 0x1.7b575cp-16f, 0x1.8273dcp-13f, 0x1.96a8aep-14f,
     0x1.f936b8p-16f, 0x1.b96884p-18f, 0x1.207fc6p-20f, 0.0f},
};

}  // namespace dr
