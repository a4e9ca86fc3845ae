#pragma once
// The caching allocator of one device and stream. Freed blocks are kept and given out again, so a step that asks for what
// the step before asked for takes nothing from the system: small ones by size class, last in first out; large ones to
// whatever fits best, which may take a part of one, and parts become whole again as they are freed. So gradients lie where
// activations were, and what the process holds is little more than what is in use. Stream order makes immediate reuse
// safe: what was queued before the free runs before what is queued after it. Not thread-safe.

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/device.h"

namespace dr {

struct ArenaStats {
  struct Label {
    std::string name;
    size_t live = 0, peak = 0;
  };
  size_t live = 0, peak = 0;         // bytes in blocks now given out, and the most since reset_peak()
  size_t cached = 0;                 // bytes in blocks kept for reuse
  uint64_t system_allocations = 0;   // since the arena was made
  std::vector<Label> labels;         // by the label that was set when the block was given out; the first is ""
};

class Arena {
 public:
  explicit Arena(std::shared_ptr<Device> device) : device_(std::move(device)) { stats_.labels.push_back({}); }
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Device& device() const { return *device_; }
  const std::shared_ptr<Device>& shared_device() const { return device_; }

  // At least `bytes` (a multiple of 64; at most a 32nd more than asked for), rounded so that near sizes share
  // blocks.
  static size_t size_class(size_t bytes);
  static constexpr size_t kLarge = size_t{1} << 20;  // blocks from here on may be parts of larger ones

  void* allocate(size_t bytes, uint32_t label);
  void free(void* p, size_t bytes, uint32_t label) noexcept;
  void trim() noexcept;  // gives cached blocks, of which no part is in use, back to the system

  const ArenaStats& stats() const { return stats_; }
  uint64_t system_allocations() const { return stats_.system_allocations; }
  void reset_peak();
  uint32_t current_label() const { return label_; }
  uint64_t next_storage_id() { return device_->next_storage_id(); }

  // While one lives, blocks given out count under its name.
  class LabelScope {
   public:
    LabelScope(Arena& arena, std::string_view name);
    ~LabelScope() { arena_.label_ = before_; }
    LabelScope(const LabelScope&) = delete;
    LabelScope& operator=(const LabelScope&) = delete;

   private:
    Arena& arena_;
    uint32_t before_;
  };

  // For recorded work: between record and the first replay, what is given out is written down; from replay on the same
  // blocks are given out again in the same order, whatever was freed, and nothing is taken back.
  void record() { recording_ = Recording::recording; }
  void replay() { recording_ = Recording::replaying, next_ = 0; }
  bool replayed() const { return next_ == given_.size(); }

  std::string table() const;  // for --memory

 private:
  // A part of a large block of the system's, with its neighbours in there; two free ones are never neighbours.
  struct Part {
    size_t size;
    std::byte *before, *after;  // null at the block's ends
    bool free;
  };
  void* take_small(size_t size);
  void* take_large(size_t size);
  void keep_large(std::byte* p);
  void* from_system(size_t size);

  std::shared_ptr<Device> device_;
  std::unordered_map<size_t, std::vector<void*>> small_;  // by size class
  std::unordered_map<std::byte*, Part> parts_;
  std::set<std::pair<size_t, std::byte*>> large_;         // free parts
  std::unordered_map<void*, size_t> blocks_;              // all that were taken from the system
  ArenaStats stats_;
  uint32_t label_ = 0;
  enum class Recording : uint8_t { none, recording, replaying } recording_ = Recording::none;
  std::vector<std::pair<size_t, void*>> given_;
  size_t next_ = 0;
};

// One block, given back when its last owner goes. The id is never used twice, unlike an address.
class Storage {
 public:
  Storage(std::shared_ptr<Arena> arena, size_t bytes)
      : arena_(std::move(arena)), bytes_(bytes), label_(arena_->current_label()), id_(arena_->next_storage_id()),
        data_(arena_->allocate(bytes, label_)) {}
  ~Storage() { arena_->free(data_, bytes_, label_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  uint64_t id() const { return id_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

 private:
  std::shared_ptr<Arena> arena_;
  size_t bytes_;
  uint32_t label_;
  uint64_t id_;
  void* data_;
};

}  // namespace dr
