#include "runtime/recorded_work.h"

#include <utility>

namespace dr {
namespace {

// While one lives, the runtime's tensors come from another arena.
class ArenaScope {
 public:
  ArenaScope(Runtime& runtime, std::shared_ptr<Arena> arena) : runtime_(runtime), other_(std::move(arena)) {
    runtime.swap_arena(other_);
  }
  ~ArenaScope() { runtime_.swap_arena(other_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Runtime& runtime_;
  std::shared_ptr<Arena> other_;
};

}  // namespace

void RecordedWork::run(const std::function<void()>& work) {
  Device& device = runtime_.device();
  if (!device.can_record() || runtime_.ledger || runtime_.profiler) return work();
  if (!arena_) arena_ = std::make_shared<Arena>(runtime_.arena()->shared_device());
  const ArenaScope scope(runtime_, arena_);
  if (recording_) {
    arena_->replay();
    device.begin_feeding(*recording_);
    try {
      work();
    } catch (...) {
      device.end_feeding();
      throw;
    }
    device.end_feeding();
    CHECK(arena_->replayed(), "recorded work: this run made fewer tensors than the one that was recorded");
    device.replay(*recording_);
    return;
  }
  if (runs_++ == 0) return work();
  arena_->record();
  device.begin_recording();
  try {
    work();
  } catch (...) {
    (void)device.end_recording();
    throw;
  }
  recording_ = device.end_recording();
  device.replay(*recording_);
}

}  // namespace dr
