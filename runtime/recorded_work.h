#pragma once
// Work of a device that is the same from step to step: recorded once as a graph, then replayed with one launch.
//
//   RecordedWork step(runtime);
//   for (...) step.run([&] { loss = compute(runtime.from(batch)); });   // then read `loss`
//
// The first run is an ordinary one: memory is taken, libraries choose their algorithms. The second is recorded. From the third
// on the function runs for its host side alone: ops are not called, tensors lie where they lay, and what is copied in from the
// host (a batch, a learning rate, seeds) goes to where the graph takes it from; then the graph runs. So nothing that the host
// computes anew is frozen, and the function need not know. It must queue the same ops and copies each time and read nothing
// back; a copy of another size, or an allocation of another size or number, is refused.
//
// Tensors that it makes lie in memory of the recording, which the next run overwrites. On the CPU, and while a ledger or a
// profiler watches, every run is an ordinary one.

#include <functional>

#include "runtime/runtime.h"

namespace dr {

class RecordedWork {
 public:
  explicit RecordedWork(Runtime& runtime) : runtime_(runtime) {}
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;

  void run(const std::function<void()>& work);
  bool recorded() const { return recording_ != nullptr; }

 private:
  Runtime& runtime_;
  std::shared_ptr<Arena> arena_;  // of the work's own tensors
  std::shared_ptr<Recording> recording_;
  int runs_ = 0;
};

}  // namespace dr
