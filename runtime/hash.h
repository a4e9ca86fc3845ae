#pragma once
// Hash and locator of a whole tensor (the terms are defined in kernels/core/hash.h), and a digest of bytes.

#include "kernels/core/hash.h"
#include "runtime/device.h"

namespace dr {

// Over the logical elements of v, whatever its strides. Any number of threads and any instruction set give the same.
TensorHash hash_of(const Context& ctx, Device& device, const View& v);

std::string to_hex(uint64_t high, uint64_t low);  // 32 digits

// Where two tensors of `count` elements differ, if that is one element; -1 if several do.
//   One element i differs: with d0, d1, d2 the differences of s0, s1, s2 mod 2^64, d1 = (i + 1) d0 and d0 != 0. Let 2^t
//   be the power of two in d0: d1 must be a multiple of it, and i + 1 = (d1 / 2^t) (d0 / 2^t)^-1 mod 2^(64-t), the odd
//   factor having an inverse. That is one index as long as count < 2^(64-t), else -1.
//   Several differ: by unequal amounts, the quotient is as good as random, an index by a chance of count / 2^64. By
//   equal amounts it is the mean of their positions; then d2 differs from (i + 1)^2 d0 by their variance.
int64_t locate(const TensorHash& a, const TensorHash& b, int64_t count);

// FNV-1a with 128 bits: each byte is one to one, so any change of a single byte changes the digest.
class Digest {
 public:
  void add(const void* data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) state_ = (state_ ^ static_cast<const unsigned char*>(data)[i]) * kPrime;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void add_value(const T& v) { add(&v, sizeof v); }
  uint64_t low() const { return uint64_t(state_); }
  uint64_t high() const { return uint64_t(state_ >> 64); }

 private:
  using U128 = unsigned __int128;
  static constexpr U128 kPrime = U128{1} << 88 | 0x13b;
  U128 state_ = U128{0x6c62272e07bb0142u} << 64 | 0x62b821756295c58du;
};

}  // namespace dr
