#pragma once
// Random numbers on a device (core/philox.h says what they are): a thread takes a block of four elements, whose words
// one call of Philox gives. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_runs.h"
#include "kernels/core/philox.h"

namespace dr::DR_BACKEND {

static_assert(kRun == 4);  // words of a block

// The numbers of one op call, whose first element is `first`. Seed and step lie in a tensor, for kernels to read.
struct RandomElements {
  const uint32_t* rng;
  uint32_t op_id;
  uint64_t first;
  DR_DEVICE PhiloxWords block(uint64_t b) const { return random_block(random_stream(rng, op_id), b); }
  DR_DEVICE uint32_t bits(int64_t i) const {
    const uint64_t e = first + uint64_t(i);
    const PhiloxWords w = block(e / 4);
    const uint32_t low = e & 1 ? w.x[1] : w.x[0], high = e & 1 ? w.x[3] : w.x[2];
    return e & 2 ? high : low;
  }
};

// What a block's words stand for.
DR_DEVICE Run uniforms_below_one(const PhiloxWords& w) {
  return make_run([&](int j) { return uniform_below_one(w.x[j]); });
}
DR_DEVICE Run normals(const PhiloxWords& w) {
  Run z;
  DR_UNROLL
  for (int j = 0; j < kRun; j += 2) {
    const float radius = normal_radius(w.x[j]);
    const CirclePoint p = normal_circle(w.x[j + 1]);
    z.v[j] = radius * p.x[0];
    z.v[j + 1] = radius * p.x[1];
  }
  return z;
}

// The elements of one block: i + from .. i + to - 1 of those asked for, i + j taking word j.
struct BlockPart {
  uint64_t block;
  int64_t i;
  int from, to;
  DR_DEVICE bool whole() const { return from == 0 && to == kRun; }
};
template <class T>
DR_DEVICE void store_part(T* y, const Run& run, const BlockPart& part) {
  if (part.from == 0) return store_run(y + part.i, run, part.to);
  DR_UNROLL
  for (int j = 1; j < kRun; j++)
    if (j >= part.from && j < part.to) store1(y + part.i + j, run.v[j]);
}

// f(part) for every block that holds some of `count` elements from `first` on, a thread each.
template <class F>
struct AtBlock {
  uint64_t first;
  int64_t count;
  F f;
  DR_DEVICE void operator()(int64_t b) const {
    const int64_t i = b * kRun - int64_t(first % kRun);
    f(BlockPart{first / kRun + uint64_t(b), i, i < 0 ? int(-i) : 0, count - i < kRun ? int(count - i) : kRun});
  }
};
template <class F>
void for_random_blocks(const Context& ctx, uint64_t first, int64_t count, const F& f) {
  if (count > 0) for_each(ctx, (int64_t(first % kRun) + count + kRun - 1) / kRun, AtBlock<F>{first, count, f});
}

}  // namespace dr::DR_BACKEND
