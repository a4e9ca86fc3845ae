#pragma once
// Constants of math.h. Polynomials interpolate at Chebyshev nodes in 300-bit arithmetic, each coefficient then
// rounded to double; errors are relative to the function unless stated.

#include <bit>
#include <cstdint>

#include "kernels/core/table.h"

namespace dr::math {

inline constexpr double kLog2e = 0x1.71547652b82fep+0;  // of log2(e): relative error 2^-56
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1, kLn2Low = 0x1.abc9e3b39803fp-56;
inline constexpr double kPi = 0x1.921fb54442d18p+1, kPiLow = 0x1.1a62633145c07p-53;
inline constexpr double kInvPi = 0x1.45f306dc9c883p-2;

// 2^(j/8), less j/8 in the exponent and fraction read as one number: adding n << 49 to the bits of entry n mod 8
// gives 2^(n/8).
constexpr double exp2_entry(double value, uint64_t j) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(value) - (j << 49));
}
alignas(64) DR_TABLE double kExp2[8] = {
    exp2_entry(0x1.0000000000000p+0, 0), exp2_entry(0x1.172b83c7d517bp+0, 1), exp2_entry(0x1.306fe0a31b715p+0, 2),
    exp2_entry(0x1.4bfdad5362a27p+0, 3), exp2_entry(0x1.6a09e667f3bcdp+0, 4), exp2_entry(0x1.8ace5422aa0dbp+0, 5),
    exp2_entry(0x1.ae89f995ad3adp+0, 6), exp2_entry(0x1.d5818dcfba487p+0, 7)};

// (2^f - 1) / f on |f| <= 1/16: 2^-52.6
DR_TABLE double kExp2Poly[7] = {0x1.62e42fefa39efp-1, 0x1.ebfbdff82c6c5p-3, 0x1.c6b08d704a11fp-5,
                                        0x1.3b2ab6f1f1910p-7, 0x1.5d87fe72ac65ep-10, 0x1.430deca12d584p-13,
                                        0x1.ffd1f6633bd3ap-17};

// The same one term shorter, absolute error of 2^f below 2^-49: enough for exp, whose hard inputs chose the last
// bits.
DR_TABLE double kExp2Short[6] = {0x1.62e42fefa3ad8p-1, 0x1.ebfbdff82c016p-3,  0x1.c6b08d5e48946p-5,
                                         0x1.3b2ab6edbe981p-7, 0x1.5d8dfcb6c5f0cp-10, 0x1.430ee07a42b43p-13};

// log: the mantissa is brought into [0.703125, 1.40625) and cut into eight pieces at multiples of 1/16 (1/8 above
// 1.03125). A piece has c near its middle, 1/c rounded to double, and -log of that rounded number. The piece round 1
// has c = 1, so that log keeps its relative accuracy there.
inline constexpr uint64_t kLogOffset = 0x3fe6800000000000;  // the bits of 0.703125
alignas(64) DR_TABLE double kLogInverse[8] = {
    0x1.5c9882b931057p+0, 0x1.4141414141414p+0, 0x1.29e4129e4129ep+0, 0x1.15b1e5f75270dp+0,
    0x1.0000000000000p+0, 0x1.d41d41d41d41dp-1, 0x1.a41a41a41a41ap-1, 0x1.7d05f417d05f4p-1};
alignas(64) DR_TABLE double kLogValue[8] = {
    -0x1.3c25277333183p-2, -0x1.d1037f2655e7bp-3, -0x1.365fcb0159014p-3, -0x1.4d3115d207eacp-4,
    0x0.0p+0,              0x1.6f0d28ae56b4ep-4,  0x1.9525a9cf456b6p-3,  0x1.2e8e2bae11d31p-2};

// (log(1+r) - r) / r^2 on |r| <= 0.0573: 2^-57 of log(1+r)
DR_TABLE double kLogPoly[10] = {-0x1.0000000000001p-1, 0x1.5555555555556p-2,  -0x1.fffffffff79f8p-3,
                                        0x1.9999999991ddfp-3,  -0x1.555555a50a24dp-3, 0x1.2492496e26e56p-3,
                                        -0x1.fffded4d4396ap-4, 0x1.c71a87dea17bbp-4,  -0x1.9c6a2371722c4p-4,
                                        0x1.76f63cb8ed817p-4};

// Inputs whose result lies so near a midpoint between floats (2^-52 and nearer) that double falls on the wrong side.
struct Patch {
  float x, y;
};
DR_TABLE Patch kExpm1Patches[] = {{0x1.84a5bap-4f, 0x1.97aed6p-4f}};
DR_TABLE Patch kLogPatches[] = {
    {0x1.2f1fd6p+3f, 0x1.1fcbcep+1f}, {0x1.bacb4ap+25f, 0x1.1e0696p+4f}, {0x1.b121a6p+76f, 0x1.a9a3f2p+5f}};
DR_TABLE Patch kLog1pPatches[] = {
    {-0x1.7ffffap-21f, -0x1.800002p-21f}, {0x1.800006p-21f, 0x1.7ffffep-21f}, {0x1.200036p-17f, 0x1.1fffe6p-17f},
    {-0x1.1fffcap-17f, -0x1.20001ap-17f}, {-0x1.1d9188p-9f, -0x1.1de14ap-9f}, {0x1.fb035ap-2f, 0x1.9bddc2p-2f},
    {0x1.0f1fd6p+3f, 0x1.1fcbcep+1f},     {0x1.b121a6p+76f, 0x1.a9a3f2p+5f}};
DR_TABLE Patch kSinPatches[] = {{0x1.33333p+13f, -0x1.63f4bap-2f}, {-0x1.33333p+13f, 0x1.63f4bap-2f}};
DR_TABLE Patch kCosLargePatch = {0x1.3170fp+63f, 0x1.fe2976p-1f};  // of |x|

// (sin(r) - r) / r^3 as a polynomial in r^2 on |r| <= pi/2: 2^-55 of sin(r)
DR_TABLE double kSinPoly[8] = {-0x1.5555555555555p-3,  0x1.1111111111107p-7, -0x1.a01a01a018aadp-13,
                                       0x1.71de3a5456710p-19,  -0x1.ae6455a1d6d16p-26, 0x1.6124015b4d09ap-33,
                                       -0x1.ae5138bb6e53dp-41, 0x1.89a485b963ce2p-49};

// The first 288 binary digits of 2/pi after the point.
DR_TABLE uint32_t kTwoOverPi[9] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599,
                                           0x3c439041, 0xfe5163ab, 0xdebbc561, 0xb7246e3a};

// erf(t + n h), h = 33/128, for |t| <= h/2: row k holds the coefficients of t^k for n = 0..15. 2^-52.4
inline constexpr double kErfStep = 0x1.08p-2, kErfPerStep = 0x1.f07c1f07c1f08p+1;
inline constexpr int kErfTerms = 12;
alignas(64) DR_TABLE double kErf[kErfTerms][16] = {
    {0x0.0p+0, 0x1.236bef825d9a2p-2, 0x1.1178930ada115p-1, 0x1.73b1021fc0cb8p-1, 0x1.b5e62fce16095p-1,
     0x1.dd0787a8bb39dp-1, 0x1.f14e8211e8c55p-1, 0x1.fa84fe5e05c8dp-1, 0x1.fe307f2b503d0p-1, 0x1.ff789eb6130c9p-1,
     0x1.ffdd1750e1220p-1, 0x1.fff80ff8911fdp-1, 0x1.fffe68f4fa777p-1, 0x1.ffffb839e52f3p-1, 0x1.fffff4dde0118p-1,
     0x1.fffffe7b4c81ep-1},
    {0x1.20dd750429b6dp+0, 0x1.0e4a073dc1b91p+0, 0x1.bada596f25436p-1, 0x1.3da26d759aef5p-1,
     0x1.8eed36b886d93p-2, 0x1.b6a856c3ed54fp-3, 0x1.a64de673e8837p-4, 0x1.63f3f5c4de13bp-5, 0x1.06ae13b0d3255p-6,
     0x1.536fc18f7ce5cp-8, 0x1.8005f08d6f1efp-10, 0x1.7c629a822bc9ep-12, 0x1.49e17724f4d41p-14,
     0x1.f4f12e9ab070dp-17, 0x1.4d0231928c6fep-19, 0x1.83a1ff0aa239ep-22},
    {0x0.0p+0, -0x1.16bc5777afb80p-2, -0x1.c8b12c3a9e649p-2, -0x1.eb574151ebb09p-2, -0x1.9b64a06e4b198p-2,
     -0x1.1aba7fec47f90p-2, -0x1.46a0403da5cd2p-3, -0x1.413122c4a458cp-4, -0x1.0ee3844e59c0fp-5,
     -0x1.89cca78f780a8p-7, -0x1.ef07a816517a0p-9, -0x1.0dafe88b49fb2p-10, -0x1.fe48c44d29919p-13,
     -0x1.a3bc158c9ae3bp-15, -0x1.2c7cfabb3bfdap-17, -0x1.76c31e12ceaa7p-20},
    {-0x1.812746b0379c9p-2, -0x1.387a5549c569ap-2, -0x1.147ea8d68f777p-3, 0x1.4cbafafeb1b13p-5,
     0x1.2bb6e2c74d52bp-3, 0x1.53b86ef221f02p-3, 0x1.0a72f12c419a0p-3, 0x1.471bca33c6161p-4, 0x1.48b127f8ed855p-5,
     0x1.144af977ac551p-6, 0x1.896a15bcb9f26p-8, 0x1.de2db171d46ccp-10, 0x1.f2bd95d72a413p-12,
     0x1.c00cbe21fa248p-14, 0x1.5ba646432950cp-16, 0x1.d2f0c4ce6ead1p-19},
    {0x0.0p+0, 0x1.0a626ef72877dp-3, 0x1.77bec50389b0cp-3, 0x1.27646d1d4b00fp-3, 0x1.dee322c133c7ap-5,
     -0x1.e798a39d8ed44p-7, -0x1.84d34479c0eb7p-5, -0x1.783365113e621p-5, -0x1.f155b4e7caff0p-6,
     -0x1.fdd1befcce038p-7, -0x1.a8a1795692575p-8, -0x1.2612be8c6906ap-9, -0x1.57389189711dap-11,
     -0x1.5470562fc13d6p-13, -0x1.20a89f2cd5dbep-15, -0x1.a434d914aa68ap-18},
    {0x1.ce2f21a020324p-4, 0x1.4008190f038aep-4, 0x1.5cdce78608b45p-9, -0x1.d15df8b9cc562p-5,
     -0x1.169960d5b8c9fp-4, -0x1.58cf71a5052fbp-5, -0x1.3c9cd5c1c047dp-7, 0x1.2d381b5865cf0p-7,
     0x1.aa2c07540c4cap-7, 0x1.33667c618fc88p-7, 0x1.3fe04b68d60efp-8, 0x1.05dccf22ca88fp-9, 0x1.5decc405b87eap-11,
     0x1.85317d6b449d5p-13, 0x1.6c9a81ab7ec67p-15, 0x1.21fb9df3d6948p-17},
    {0x0.0p+0, -0x1.53261da89fcb8p-5, -0x1.948adb89246f6p-5, -0x1.86372049bffb5p-6, 0x1.feab43eb80221p-8,
     0x1.69558e75d7a7dp-6, 0x1.21000bd48795dp-6, 0x1.b8284789f4810p-8, -0x1.bbf7e4340995ep-11,
     -0x1.973668c2c22dfp-9, -0x1.4351418adf336p-9, -0x1.523eab69e79c1p-10, -0x1.0d559c25b59f6p-11,
     -0x1.5804a94287d3ap-13, -0x1.69b01f7546ed4p-15, -0x1.3dc750142dc4ap-17},
    {-0x1.b82ce25c92d18p-6, -0x1.fda7fff6803d6p-7, 0x1.b3403442ef996p-8, 0x1.33d57f9b5d0d7p-6,
     0x1.c76eb9c626290p-7, 0x1.f1d5e67957331p-10, -0x1.6824a1533e383p-8, -0x1.7264d19fed0e0p-8,
     -0x1.5478d8610a412p-9, -0x1.6cd592a2d9c88p-13, 0x1.5757fe8893797p-11, 0x1.2abeb20221ebep-11,
     0x1.35838ec8748e5p-12, 0x1.d986b313c900ap-14, 0x1.1e2e2bfcfc349p-15, 0x1.1a12c796f1eb8p-17},
    {0x0.0p+0, 0x1.4389f79cb5111p-7, 0x1.3eb122e928b3bp-7, 0x1.818cfe060e96bp-10, -0x1.583ff9e90f987p-8,
     -0x1.5dd282a956729p-8, -0x1.b1c83f7f74378p-10, 0x1.232769de36443p-10, 0x1.8eae6d7ef3855p-10,
     0x1.91f555f64005cp-11, 0x1.beb443f016d91p-14, -0x1.0b604af628527p-13, -0x1.efda8b2bb0018p-14,
     -0x1.f2a9bbd4e5ae4p-15, -0x1.697571e91c418p-16, -0x1.99375665b1d4dp-18},
    {0x1.565a45c3490f6p-8, 0x1.423fbac982486p-9, -0x1.3b52b05e2047cp-9, -0x1.fff9a56457ed4p-9,
     -0x1.88e26b29209a3p-10, 0x1.30068a651e90bp-10, 0x1.ad36ee094561dp-10, 0x1.56a331fc0709cp-11,
     -0x1.928e27b9f4936p-13, -0x1.7b0a2c7206deap-12, -0x1.8b016d20b5a56p-13, -0x1.fedfb92eee69bp-16,
     0x1.90a3bf74ebaddp-16, 0x1.767ed564bfd9ep-16, 0x1.65420896dae74p-17, 0x1.e3f70b1f16e22p-19},
    {0x0.0p+0, -0x1.e980c3136f86ap-10, -0x1.81e4bf158b79cp-10, 0x1.60c65daeb726ap-12, 0x1.435bf44290c50p-10,
     0x1.5419732cbeb37p-11, -0x1.b4795b07d6abfp-13, -0x1.c383216fca28ap-12, -0x1.919c04d302c3ap-13,
     0x1.fcf69d8afa743p-16, 0x1.45fa0dd385aebp-14, 0x1.4f8cc45609ef9p-15, 0x1.ac6efdc03169fp-18,
     -0x1.22d7c58ef46d7p-18, -0x1.025efe62f143bp-18, -0x1.cb6985e92a346p-20},
    {-0x1.bd4cf986f448fp-11, -0x1.47a7ea0ba4a1dp-12, 0x1.14de5a329d3fep-11, 0x1.3411a0ae1c3a7p-11,
     0x1.c82fe4ce62afdp-17, -0x1.63f70da6ae6a3p-12, -0x1.b3aca90508d57p-13, 0x1.1f458de6f255bp-15,
     0x1.addae2b932736p-14, 0x1.81853e3c6a35bp-15, -0x1.780c04a7259b4p-18, -0x1.0485824432befp-16,
     -0x1.f2e4c5eca3c89p-18, -0x1.0c28f1241d387p-20, 0x1.a272afbb0c9bap-21, 0x1.4697379b269fbp-21},
};

}  // namespace dr::math
