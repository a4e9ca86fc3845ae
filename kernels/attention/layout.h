#pragma once
// Scratch memory of one thread that works on one head, the same for every instruction set: vectors of 16 lanes at most.

#include <algorithm>

#include "kernels/attention/frame_mask.h"
#include "kernels/core/carver.h"

namespace dr {

inline constexpr int64_t kMaxHeadWidth = 256;

struct HeadShape {
  int64_t tokens = 0;  // S: tokens of a frame
  int64_t width = 0;   // D
  int64_t frames = 0;  // frames of keys laid out
  int64_t keys = 0;    // the most keys that a query sees

  int64_t row() const { return whole_lines(width); }             // a row of D channels, zeros after them
  int64_t panel() const { return whole_lines(tokens) * width; }  // the key panels of one frame
  // Row stride of a block of scores: a frame's last vector of keys may reach a line past its last key. An odd number of
  // lines, so that equal columns of successive rows do not meet in one cache set.
  int64_t score_stride() const { return (whole_lines(keys + kLine) / kLine | 1) * kLine; }
  // Rows of a block of queries: equal shares of a frame, as large as `bytes` of scores hold but for the least, in whole
  // register tiles of any instruction set. No bit depends on it.
  int64_t block_rows(int64_t bytes) const {
    constexpr int64_t kTile = 12;
    const int64_t fit = bytes / (score_stride() * int64_t(sizeof(float))), most = fit < kTile ? kTile : fit;
    const int64_t blocks = tokens > most ? (tokens + most - 1) / most : 1, share = (tokens + blocks - 1) / blocks;
    const int64_t rows = (share + kTile - 1) / kTile * kTile;
    return rows < tokens ? rows : tokens;
  }
};

inline HeadShape head_shape(const FrameMask& mask, int64_t length, int64_t width) {
  HeadShape s{mask.frame_tokens(length), width, mask.frames(length)};
  for (int64_t f = 0; f < s.frames; f++) {
    const int64_t keys = mask.visible(f, s.frames).frames() * s.tokens;
    s.keys = keys > s.keys ? keys : s.keys;
  }
  return s;
}

struct ForwardBuffers {
  int64_t block_rows;
  float *key_panels, *value_rows, *q, *scores, *out, *chunk;

  ForwardBuffers(const HeadShape& s, Carver& c)
      : block_rows(s.block_rows(int64_t{384} << 10)),
        key_panels(c.take(s.frames * s.panel())),
        value_rows(c.take(s.frames * s.tokens * s.row())),
        q(c.take(block_rows * s.row())),
        scores(c.take(block_rows * s.score_stride())),
        out(c.take(block_rows * s.row())),
        chunk(c.take(block_rows * s.row())) {}
};

struct BackwardBuffers {
  int64_t block_rows;
  float *key_panels, *value_panels, *key_rows;
  float *dk, *dk_chunk, *dv, *dv_chunk;  // rows of all keys: finished chunks, the chunk under way
  float *q, *dy, *dq, *dq_chunk;         // rows of the block
  float *p, *ds;
  int32_t* seen;                         // per frame: queries that have seen it so far

  BackwardBuffers(const HeadShape& s, Carver& c)
      : block_rows(s.block_rows(int64_t{512} << 10)),
        key_panels(c.take(s.frames * s.panel())),
        value_panels(c.take(s.frames * s.panel())),
        key_rows(c.take(s.frames * s.tokens * s.row())),
        dk(c.take(s.frames * s.tokens * s.row())),
        dk_chunk(c.take(s.frames * s.tokens * s.row())),
        dv(c.take(s.frames * s.tokens * s.row())),
        dv_chunk(c.take(s.frames * s.tokens * s.row())),
        q(c.take(block_rows * s.row())),
        dy(c.take(block_rows * s.row())),
        dq(c.take(block_rows * s.row())),
        dq_chunk(c.take(block_rows * s.row())),
        p(c.take(block_rows * s.score_stride())),
        ds(c.take(block_rows * s.score_stride())),
        seen(reinterpret_cast<int32_t*>(c.take(s.frames))) {}
};

// Scratch of a device, which goes through the heads in waves: of as many heads as matrices of the scores of `rows`
// queries each, and where asked for a gradient of queries in f32, fit into a fixed size, but of one head at least.
struct DeviceHeads {
  static constexpr int64_t kFloats = int64_t{1} << 25;  // 128 MB: a few large heads, or very many small ones
  int64_t wave, ld, matrix, queries;  // heads; floats of a row of scores, of a head's rows, of its queries
  int matrices;

  DeviceHeads(int64_t heads, int64_t rows, int64_t keys, int64_t width, int matrices_, bool with_queries)
      : ld((keys + 7) / 8 * 8), matrix(rows * ld), queries(with_queries ? rows * width : 0), matrices(matrices_) {
    wave = std::clamp<int64_t>(kFloats / std::max<int64_t>(1, floats(1)), 1, std::max<int64_t>(1, heads));
  }
  int64_t floats(int64_t heads) const { return heads * (matrices * matrix + queries); }
  size_t bytes() const { return size_t(floats(wave)) * sizeof(float); }
};

template <class Buffers>
size_t scratch_per_thread(const HeadShape& s) {
  Carver c;
  Buffers{s, c};
  return c.bytes();
}

}  // namespace dr
