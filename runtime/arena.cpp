#include "runtime/arena.h"

#include <algorithm>
#include <bit>

namespace dr {

size_t Arena::size_class(size_t bytes) {
  // Multiples of 64 up to 4 KB, then 32 classes per power of two.
  const size_t step = bytes <= 2048 ? 64 : std::bit_floor(bytes - 1) / 32;
  return std::max<size_t>(1, (bytes + step - 1) / step) * step;
}

void* Arena::allocate(size_t bytes, uint32_t label) {
  const size_t size = size_class(bytes);
  void* p = nullptr;
  if (std::vector<void*>& free_blocks = cache_[size]; !free_blocks.empty()) {
    p = free_blocks.back();
    free_blocks.pop_back();
    stats_.cached -= size;
  } else {
    p = device_->allocate(size);
    if (!p) {  // perhaps the cache holds it in blocks of other sizes
      device_->synchronize();
      trim();
      p = device_->allocate(size);
    }
    CHECK(p, "out of memory on {}: {} MiB asked for, {} MiB in use, {} MiB available", name_of(device_->kind()),
          size >> 20, stats_.live >> 20, device_->memory().available >> 20);
    stats_.system_allocations++;
  }
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  ArenaStats::Label& l = stats_.labels[label];
  l.live += size;
  l.peak = std::max(l.peak, l.live);
  return p;
}

void Arena::free(void* p, size_t bytes, uint32_t label) noexcept {
  const size_t size = size_class(bytes);
  cache_[size].push_back(p);
  stats_.cached += size;
  stats_.live -= size;
  stats_.labels[label].live -= size;
}

void Arena::trim() noexcept {
  for (auto& [size, blocks] : cache_) {
    for (void* p : blocks) device_->free(p, size);
    stats_.cached -= size * blocks.size();
    blocks.clear();
  }
}

void Arena::reset_peak() {
  stats_.peak = stats_.live;
  for (ArenaStats::Label& l : stats_.labels) l.peak = l.live;
}

Arena::LabelScope::LabelScope(Arena& arena, std::string_view name) : arena_(arena), before_(arena.label_) {
  auto& labels = arena.stats_.labels;
  const auto it = std::find_if(labels.begin(), labels.end(), [&](const auto& l) { return l.name == name; });
  arena.label_ = uint32_t(it - labels.begin());
  if (it == labels.end()) labels.push_back({std::string(name), 0, 0});
}

std::string Arena::table() const {
  constexpr double kMiB = 1 << 20;
  std::string s = format("{:<32} {:>12} {:>12}\n", "memory, MiB", "live", "peak");
  for (const ArenaStats::Label& l : stats_.labels)
    if (l.peak)
      s += format("{:<32} {:>12.2f} {:>12.2f}\n", l.name.empty() ? "(no label)" : l.name, double(l.live) / kMiB,
                  double(l.peak) / kMiB);
  s += format("{:<32} {:>12.2f} {:>12.2f}\n", "all", double(stats_.live) / kMiB, double(stats_.peak) / kMiB);
  s += format("{:<32} {:>12.2f}\n{:<32} {:>12}\n", "cached", double(stats_.cached) / kMiB,
              "blocks taken from the system", stats_.system_allocations);
  return s;
}

}  // namespace dr
