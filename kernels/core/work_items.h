#pragma once
// Work handed out item by item, to threads that each own one slot of scratch memory.

#include <atomic>

#include "kernels/core/context.h"

namespace dr {

// f(item, slot) for every item < items; a slot < ctx.threads() is used by one thread at a time.
template <class F>
inline void for_each_item(const Context& ctx, int64_t items, F&& f) {
  std::atomic<int64_t> next{0};
  const int64_t slots = items < ctx.threads() ? items : ctx.threads();
  ctx.parallel(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; slot++)
      for (int64_t i; (i = next.fetch_add(1)) < items;) f(i, slot);
  });
}

}  // namespace dr
