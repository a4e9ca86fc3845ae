#include "runtime/arena.h"

#include <algorithm>
#include <bit>

namespace dr {

size_t Arena::size_class(size_t bytes) {
  // Multiples of 64 up to 4 KB, then 32 classes per power of two.
  const size_t step = bytes <= 2048 ? 64 : std::bit_floor(bytes - 1) / 32;
  return std::max<size_t>(1, (bytes + step - 1) / step) * step;
}

Arena::~Arena() {
  for (const auto& [p, size] : blocks_) device_->free(p, size);
}

void* Arena::from_system(size_t size) {
  void* p = device_->allocate(size);
  if (!p) {  // perhaps the cache holds it in other blocks
    device_->synchronize();
    trim();
    p = device_->allocate(size);
  }
  CHECK(p, "out of memory on {}: {} MiB asked for, {} MiB in use, {} MiB available", name_of(device_->kind()),
        size >> 20, stats_.live >> 20, device_->memory().available >> 20);
  stats_.system_allocations++;
  blocks_[p] = size;
  return p;
}

void* Arena::take_small(size_t size) {
  std::vector<void*>& free_blocks = small_[size];
  if (free_blocks.empty()) return from_system(size);
  void* const p = free_blocks.back();
  free_blocks.pop_back();
  stats_.cached -= size;
  return p;
}

void* Arena::take_large(size_t size) {
  constexpr size_t kLeast = size_t{1} << 16;  // a smaller rest stays with the part
  const auto best = large_.lower_bound({size, nullptr});
  std::byte* p;
  if (best == large_.end()) {
    // More than is asked for where much is held: the system rounds every block up to whole huge pages, and parts fit
    // better in few blocks. On a host, as much again as is held: its memory is taken as it is written, and the best fit
    // leaves the rest of a new block for last.
    const size_t held = stats_.live + stats_.cached;
    const size_t ahead = device_->host_visible() ? held : std::min(size_t{64} << 20, held / 16);
    const size_t all = std::max(size, std::min(ahead, device_->memory().available / 4) / kLarge * kLarge);
    p = static_cast<std::byte*>(from_system(all));
    parts_[p] = {all, nullptr, nullptr, true};
  } else {
    p = best->second;
    large_.erase(best);
    stats_.cached -= parts_[p].size;
  }
  Part& part = parts_[p];
  part.free = false;
  if (const size_t rest = part.size - size; rest >= kLeast) {
    std::byte *const next = p + size, *const after = part.after;
    part.size = size, part.after = next;
    parts_[next] = {rest, p, after, true};  // `part` is not valid behind this line
    if (after) parts_[after].before = next;
    large_.insert({rest, next});
    stats_.cached += rest;
  }
  return p;
}

void Arena::keep_large(std::byte* p) {
  Part part = parts_[p];
  stats_.cached += part.size;
  const auto absorb = [&](std::byte* neighbour) {
    const Part other = parts_[neighbour];
    large_.erase({other.size, neighbour});
    parts_.erase(neighbour);
    part.size += other.size;
    return other;
  };
  if (part.after && parts_[part.after].free) part.after = absorb(part.after).after;
  if (part.before && parts_[part.before].free) {
    parts_.erase(p);
    p = part.before;
    part.before = absorb(p).before;
  }
  if (part.after) parts_[part.after].before = p;
  part.free = true;
  parts_[p] = part;
  large_.insert({part.size, p});
}

void* Arena::allocate(size_t bytes, uint32_t label) {
  const size_t size = size_class(bytes);
  if (recording_ == Recording::replaying) {
    CHECK(next_ < given_.size() && given_[next_].first == size,
          "recorded work: tensor {} of this run has {} bytes, another number than when it was recorded", next_, bytes);
    return given_[next_++].second;
  }
  void* const p = size < kLarge ? take_small(size) : take_large(size);
  if (recording_ == Recording::recording) given_.emplace_back(size, p);
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  ArenaStats::Label& l = stats_.labels[label];
  l.live += size;
  l.peak = std::max(l.peak, l.live);
  return p;
}

void Arena::free(void* p, size_t bytes, uint32_t label) noexcept {
  if (recording_ == Recording::replaying) return;
  const size_t size = size_class(bytes);
  if (size < kLarge) small_[size].push_back(p), stats_.cached += size;
  else keep_large(static_cast<std::byte*>(p));
  stats_.live -= size;
  stats_.labels[label].live -= size;
}

void Arena::trim() noexcept {
  for (auto& [size, blocks] : small_) {
    for (void* p : blocks) device_->free(p, size), blocks_.erase(p);
    stats_.cached -= size * blocks.size();
    blocks.clear();
  }
  for (auto it = large_.begin(); it != large_.end();) {
    const auto [size, p] = *it;
    const Part& part = parts_[p];
    if (part.before || part.after) {
      ++it;
      continue;
    }
    device_->free(p, size);
    blocks_.erase(p);
    stats_.cached -= size;
    parts_.erase(p);
    it = large_.erase(it);
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
