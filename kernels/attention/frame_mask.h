#pragma once
// FrameMask: which frames a frame of queries sees. A sequence is frames of `tokens_per_frame` tokens in the order
//
//   [ anchors | N clean frames | `targets` noised copies of the last `targets` clean frames ]
//
//   an anchor f        sees the anchors 0..f
//   a clean frame f    sees every anchor, the `window` clean frames before it, and itself
//   a noised copy of f sees every anchor, the `window` clean frames before f, and itself; never the clean f
//
// window < 0 is unbounded: with neither anchors nor targets that is the plain frame-causal mask. tokens_per_frame == 0
// makes the whole sequence one frame: full bidirectional attention. All tokens of a frame see the same keys.
// Source: banded mask with future anchors as in Goff et al. 2025, arXiv:2504.19077, section 4.

#include <array>

#include "kernels/core/check.h"

namespace dr {

struct FrameRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Frames in logical order (anchors, oldest to newest, self) as at most 3 ranges, none of them empty.
struct VisibleFrames {
  std::array<FrameRange, 3> range{};
  int count = 0;

  void add(int64_t begin, int64_t end) {
    if (begin >= end) return;
    if (count > 0 && range[size_t(count - 1)].end == begin) range[size_t(count - 1)].end = end;
    else range[size_t(count++)] = {begin, end};
  }
  int64_t frames() const {
    int64_t n = 0;
    for (const FrameRange& r : *this) n += r.size();
    return n;
  }
  const FrameRange* begin() const { return range.data(); }
  const FrameRange* end() const { return range.data() + count; }
};

struct FrameMask {
  int tokens_per_frame = 0;
  int anchors = 0;
  int window = -1;
  int targets = 0;

  // Tokens of a frame in a sequence of `length` tokens.
  int64_t frame_tokens(int64_t length) const { return tokens_per_frame > 0 ? tokens_per_frame : length; }
  int64_t frames(int64_t length) const { return length == 0 ? 0 : length / frame_tokens(length); }

  // Throws dr::Error unless a sequence of `length` tokens has the mask's form. An empty sequence always has.
  void check(int64_t length, const char* who) const {
    CHECK(tokens_per_frame >= 0 && anchors >= 0 && targets >= 0,
          "{}: mask has tokens_per_frame={}, anchors={}, targets={}; none may be negative", who, tokens_per_frame,
          anchors, targets);
    if (length == 0) return;
    CHECK(length % frame_tokens(length) == 0, "{}: {} tokens are no whole number of frames of {}", who, length,
          tokens_per_frame);
    CHECK(frames(length) - anchors - targets >= targets,
          "{}: {} frames do not hold {} anchors, {} noised copies and at least as many clean frames", who,
          frames(length), anchors, targets);
  }

  // What frame `frame` of `frames` sees.
  VisibleFrames visible(int64_t frame, int64_t frames) const {
    VisibleFrames v;
    if (frame < anchors) {
      v.add(0, frame + 1);
      return v;
    }
    const bool noised = frame >= frames - targets;
    const int64_t original = noised ? frame - targets : frame;  // the clean frame whose past this one sees
    const int64_t oldest = window < 0 || original - window < anchors ? anchors : original - window;
    v.add(0, anchors);
    v.add(oldest, original);
    v.add(frame, frame + 1);
    return v;
  }
};

inline std::string to_string(const FrameMask& m) {
  return format("S={},A={},W={},T={}", m.tokens_per_frame, m.anchors, m.window, m.targets);
}

}  // namespace dr
