#include <cmath>

#include "kernels/philox_fill/philox_fill.h"
#include "kernels/philox_fill/philox_ref.h"

namespace dr {

void PhiloxFill::reference(const In& in, const Out& out, const Out& bound) const {
  const RandomStream s = random_stream(in.rng.as<uint32_t>(), kReferenceOpId);
  const double low = double(a), scale = double(b);
  for (int64_t i = 0; i < in.like.count(); i++) {
    const PhiloxWords w = random_block(s, uint64_t(i) / 4);
    const int word = int(i % 4);
    if (distribution == Distribution::bits) {
      static_cast<uint32_t*>(out.y.data)[i] = w.x[word];
      continue;
    }
    const double u = double(w.x[word] >> 8) / 16777216;
    double y = 0, error = 0;
    switch (distribution) {
      case Distribution::bits: break;
      case Distribution::uniform:
        y = low + (scale - low) * u;
        error = std::fabs(scale - low) * u + std::fabs(y);  // the width, the fma
        break;
      case Distribution::bernoulli: y = u < low ? 1 : 0; break;  // exact
      case Distribution::normal:
      case Distribution::logit_normal: {
        const ReferenceNormal n = reference_normal(w, word);
        y = low + scale * n.z;
        error = scale * n.error + std::fabs(y);
        if (distribution == Distribution::logit_normal) {
          // y(1-y) times the logit's error; exp: 1, which weighs 1-y; the sum and the division: 1 each, relative to y.
          // Beyond e^16 the exponential's relative error is the logit's, hence 2^-16 of slack for the second order.
          const double t = y;
          y = 1 / (1 + std::exp(-t));
          error = y / (1 + std::exp(t)) * (error + 1) * (1 + 0x1p-16) + 2 * y;
        }
        break;
      }
    }
    static_cast<double*>(out.y.data)[i] = y;
    static_cast<double*>(bound.y.data)[i] = error;
  }
}

}  // namespace dr
