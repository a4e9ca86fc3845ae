#pragma once
// Numbers for the simulators: a pure function of (seed, stream, index), as everywhere (kernels/core/philox.h).

#include "kernels/core/philox.h"

namespace dr::sim {

// What a number is for; one stream each, so that a new use does not shift the others.
enum class RandomUse : uint32_t { road = 0x51000000, scenery, light, wander, actions, schedule, displacement };

class Random {
 public:
  Random(uint64_t seed, RandomUse use, uint32_t part = 0) : stream_{seed, part, uint32_t(use)} {}

  double uniform(double low, double high) { return low + (high - low) * double(uniform_below_one(bits())); }
  int integer(int low, int high) { return low + int(uint64_t{bits()} * uint64_t(high - low + 1) >> 32); }  // inclusive
  bool chance(double p) { return double(uniform_below_one(bits())) < p; }
  double normal() {  // uses two numbers
    next_ = (next_ + 3) / 4 * 4 + 4;
    return double(dr::normal(random_block(stream_, (next_ - 4) / 4), 0));
  }

 private:
  uint32_t bits() { return random_bits(stream_, next_++); }
  RandomStream stream_;
  uint64_t next_ = 0;
};

}  // namespace dr::sim
