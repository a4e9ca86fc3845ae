// A rollout, frame by frame against a ring buffer of keys and values, equals one pass over the whole sequence under the
// banded mask, bit for bit: for anchors, clean frames and noised copies, on every instruction set and thread count, and on
// the emulator.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/attention/attention.h"
#include "kernels/attention_decode/attention_decode.h"
#include "kernels/core/any_op.h"
#include "kernels/core/backends.h"
#include "kernels/core/device_api.h"

namespace dr {
namespace {

struct Buffer {
  std::vector<std::byte> bytes;
  View view;

  Buffer(DType t, const Sizes& sizes) : bytes(size_t(sizes.count()) * size_of(t) + 64), view(nullptr, t, sizes) {
    view.data = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    std::memset(view.data, 0xff, view.bytes());  // NaN in f32 and bf16: what is not written must not be read
  }
  Buffer(const Buffer&) = delete;
};

void fill(const View& v, uint64_t seed) {
  for (int64_t i = 0; i < v.count(); i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const float x = float(int64_t(seed >> 40) - (1 << 23)) * 0x1p-22f;  // [-2, 2)
    if (v.dtype == DType::bf16) v.as<bf16>()[i] = to_bf16(x);
    else v.as<float>()[i] = x;
  }
}

// The emulator takes memory of the host.
std::vector<Backend> backends() {
  std::vector<Backend> list = cpu_backends();
  if (device_api(Backend::simt)) list.push_back(Backend::simt);
  return list;
}

template <class O>
void forward(const O& op, const typename O::In& in, const typename O::Out& out, Backend backend, int threads) {
  op.infer(in);
  ThreadPool pool(threads);
  Buffer scratch(DType::u8, {int64_t(is_cpu(backend) ? op.scratch_bytes(in, threads) : op.device_scratch_bytes(in))});
  Context ctx;
  ctx.backend = backend;
  ctx.pool = threads > 1 ? &pool : nullptr;
  ctx.scratch = {static_cast<std::byte*>(scratch.view.data), scratch.view.bytes()};
  if (!is_cpu(backend)) ctx.fault = device_api(backend)->fault();
  run_forward(ctx, op, in, out);
  if (!is_cpu(backend)) device_api(backend)->synchronize(nullptr);
}

bool same_bytes(const View& a, const View& b) {  // (B,S,H,D), the last three axes packed
  const size_t sample = size_t(a.count() / a.size(0)) * size_of(a.dtype);
  for (int64_t s = 0; s < a.size(0); s++)
    if (std::memcmp(a.slice(0, s, 1).data, b.slice(0, s, 1).data, sample) != 0) return false;
  return true;
}

struct Rollout {
  FrameMask mask;
  int frames;
  DType dtype;
  int heads = 2, width = 33, batch = 2;

  int64_t tokens() const { return mask.tokens_per_frame; }
  int clean() const { return frames - mask.anchors - mask.targets; }
  // Frames of the past and the new one; the last slot is for noised copies, which nobody sees later.
  int ring() const { return mask.window < 0 ? clean() : mask.window + 1; }
  int slots() const { return mask.anchors + ring() + 1; }
  // Where frame f of the sequence goes: anchors stay, clean frames take turns.
  int slot(int f) const {
    if (f < mask.anchors) return f;
    return f < frames - mask.targets ? mask.anchors + (f - mask.anchors) % ring() : slots() - 1;
  }
  // Slots of what frame f sees, by the rules and not by FrameMask::visible.
  std::vector<int> visible_slots(int f) const {
    std::vector<int> list;
    const bool anchor = f < mask.anchors, noised = f >= frames - mask.targets;
    const int original = noised ? f - mask.targets : f;
    for (int g = 0; g < (anchor ? f : mask.anchors); g++) list.push_back(slot(g));
    if (!anchor)
      for (int g = mask.anchors; g < original; g++)
        if (mask.window < 0 || original - g <= mask.window) list.push_back(slot(g));
    list.push_back(slot(f));
    return list;
  }
};

struct Tensors {
  Buffer q, k, v, y, max, den;
  explicit Tensors(const Rollout& r)
      : q(r.dtype, sizes(r)),
        k(r.dtype, sizes(r)),
        v(r.dtype, sizes(r)),
        y(r.dtype, sizes(r)),
        max(DType::f32, rows(r)),
        den(DType::f32, rows(r)) {
    fill(q.view, 1), fill(k.view, 2), fill(v.view, 3);
  }
  static Sizes sizes(const Rollout& r) { return {r.batch, r.frames * r.tokens(), r.heads, r.width}; }
  static Sizes rows(const Rollout& r) { return {r.batch, r.heads, r.frames * r.tokens()}; }
};

View frame_of(const View& v, const Rollout& r, int f) { return v.slice(1, f * r.tokens(), r.tokens()); }

void write_to_cache(const View& cache, int slot, const View& frame) {
  const size_t bytes = size_t(frame.count() / frame.size(0)) * size_of(frame.dtype);
  for (int64_t s = 0; s < frame.size(0); s++)
    std::memcpy(cache.slice(0, s, 1).slice(1, slot, 1).data, frame.slice(0, s, 1).data, bytes);
}

// The frames whose decoded rows differ from the whole pass. `swap`: the two oldest visible frames change places.
std::vector<int> differing_frames(const Rollout& r, Backend backend, int threads, bool swap = false) {
  Tensors whole(r);
  forward(Attention{.mask = r.mask}, {whole.q.view, whole.k.view, whole.v.view},
          {whole.y.view, whole.max.view, whole.den.view}, backend, threads);

  const Sizes cache{r.batch, r.slots(), r.tokens(), r.heads, r.width};
  Buffer k(r.dtype, cache), v(r.dtype, cache), order(DType::i32, {1 + r.slots()});
  Buffer y(r.dtype, {r.batch, r.tokens(), r.heads, r.width});
  // A noised copy comes before its original, as in sampling: the ring then holds just what both see.
  std::vector<int> sequence;
  for (int f = 0; f < r.frames - r.mask.targets; f++) {
    if (f >= r.frames - 2 * r.mask.targets) sequence.push_back(f + r.mask.targets);
    sequence.push_back(f);
  }
  std::vector<int> differ;
  for (int f : sequence) {
    write_to_cache(k.view, r.slot(f), frame_of(whole.k.view, r, f));
    write_to_cache(v.view, r.slot(f), frame_of(whole.v.view, r, f));
    std::vector<int> list = r.visible_slots(f);
    if (swap && list.size() > 2) std::swap(list[0], list[1]);
    int32_t* const o = order.view.as<int32_t>();
    o[0] = int32_t(list.size());
    for (size_t i = 0; i < list.size(); i++) o[1 + i] = list[i];
    forward(AttentionDecode{}, {frame_of(whole.q.view, r, f), k.view, v.view, order.view}, {y.view}, backend, threads);
    if (!same_bytes(y.view, frame_of(whole.y.view, r, f))) differ.push_back(f);
  }
  return differ;
}

std::vector<Rollout> rollouts() {
  std::vector<Rollout> list;
  for (DType t : {DType::f32, DType::bf16}) {
    for (int tokens : {1, 7, 31, 36})
      list.push_back({.mask = {.tokens_per_frame = tokens, .anchors = 2, .window = 3}, .frames = 2 + 7, .dtype = t});
    list.push_back({.mask = {.tokens_per_frame = 7}, .frames = 6, .dtype = t});
    list.push_back({.mask = {.tokens_per_frame = 7, .anchors = 3}, .frames = 8, .dtype = t});
    list.push_back({.mask = {.tokens_per_frame = 31, .window = 2}, .frames = 7, .dtype = t});
    list.push_back({.mask = {.tokens_per_frame = 7, .anchors = 1, .window = 0}, .frames = 5, .dtype = t});
    const FrameMask kitti{.tokens_per_frame = 36, .anchors = 5, .window = 9};
    list.push_back({.mask = kitti, .frames = 5 + 12, .dtype = t, .heads = 1, .width = 16, .batch = 1});
    const FrameMask long_rows{.tokens_per_frame = 128, .anchors = 1, .window = 5};  // more than one chunk of 512 keys
    list.push_back({.mask = long_rows, .frames = 1 + 7, .dtype = t, .heads = 1, .width = 64, .batch = 1});
    const FrameMask noised{.tokens_per_frame = 7, .anchors = 2, .window = 3, .targets = 6};
    list.push_back({.mask = noised, .frames = 2 + 9 + 6, .dtype = t});
  }
  return list;
}

TEST(AttentionDecode, RolloutEqualsThePassOverTheWholeSequence) {
  for (const Rollout& r : rollouts())
    for (Backend backend : backends())
      for (int threads : {1, 2}) {
        if (!is_cpu(backend) && threads > 1) continue;
        const std::vector<int> differ = differing_frames(r, backend, threads);
        EXPECT_TRUE(differ.empty()) << to_string(r.mask) << " " << name_of(r.dtype) << " " << name_of(backend) << ", "
                                    << threads << " threads: " << differ.size() << " of " << r.frames
                                    << " frames differ, first " << differ[0];
      }
}

// The comparison is not vacuous: numbering the keys otherwise rounds otherwise.
TEST(AttentionDecode, LogicalOrderOfKeysShowsInTheBits) {
  const Rollout r{.mask = {.tokens_per_frame = 7, .anchors = 2, .window = 3}, .frames = 13, .dtype = DType::f32};
  EXPECT_FALSE(differing_frames(r, cpu_backends()[0], 1, true).empty());
}

TEST(AttentionDecode, RefusesAnOrderThatTheCacheDoesNotHold) {
  const Sizes frame{1, 5, 2, 16}, cache{1, 3, 5, 2, 16};
  Buffer q(DType::f32, frame), y(DType::f32, frame), k(DType::f32, cache), v(DType::f32, cache), order(DType::i32, {3});
  fill(q.view, 1), fill(k.view, 2), fill(v.view, 3);
  for (Backend backend : backends()) {
    auto with_order = [&](std::initializer_list<int32_t> list) {
      std::copy(list.begin(), list.end(), order.view.as<int32_t>());
      forward(AttentionDecode{}, {q.view, k.view, v.view, order.view}, {y.view}, backend, 1);
    };
    EXPECT_NO_THROW(with_order({2, 0, 2}));
    EXPECT_THROW(with_order({0, 0, 2}), Error);
    EXPECT_THROW(with_order({3, 0, 2}), Error);
    EXPECT_THROW(with_order({2, 0, 3}), Error);
    EXPECT_THROW(with_order({2, -1, 0}), Error);
    EXPECT_NO_THROW(with_order({1, 1, -1}));
  }
}

}  // namespace
}  // namespace dr
