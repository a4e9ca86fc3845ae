#pragma once
// A device: memory, a stream of work in order, and which kernel bodies run on it. The CPU is built in; simt, cuda and hip
// are there where the build has their kernels (kernels/core/device_api.h).

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/context.h"

namespace dr {

enum class DeviceKind : uint8_t { cpu, simt, cuda, hip };

constexpr std::string_view name_of(DeviceKind k) {
  constexpr std::string_view names[] = {"cpu", "simt", "cuda", "hip"};
  return names[int(k)];
}

// What a device was given between begin_recording and end_recording. It keeps the host memory that copies in are made from.
class Recording {
 public:
  virtual ~Recording() = default;
};

struct MemoryInfo {
  size_t total = 0, available = 0;  // bytes
};

// Not thread-safe. Work is done, or queued, in call order.
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;  // for people: "Intel(R) Xeon(R) (avx512)"
  virtual Backend backend() const = 0;
  virtual void* stream() const { return nullptr; }
  virtual DeviceFault* fault() { return nullptr; }
  virtual bool host_visible() const = 0;  // whether host code may read and write its memory

  virtual void* allocate(size_t bytes) = 0;  // 64-byte aligned, contents undefined; null when there is not enough
  virtual void free(void* p, size_t bytes) noexcept = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;           // within the device
  virtual void copy_in(void* to, const void* host_from, size_t bytes) = 0;   // the source may be reused on return
  virtual void copy_out(void* host_to, const void* from, size_t bytes) = 0;  // the bytes are there on return
  virtual void fill(void* to, uint8_t byte, size_t bytes) = 0;
  virtual void synchronize() = 0;  // throws where a kernel failed or met bad data
  virtual MemoryInfo memory() const = 0;
  uint64_t next_storage_id() { return ++storages_; }  // of its arenas' blocks; never the same twice

  // Recording (runtime/recorded_work.h). While it records, work is queued in a graph and not done. While it is fed, nothing
  // is done either, but copies in change what the recording will copy in.
  virtual bool can_record() const { return false; }
  virtual void begin_recording() {}
  virtual std::shared_ptr<Recording> end_recording() { return nullptr; }
  virtual void begin_feeding(Recording&) {}
  virtual void end_feeding() {}
  virtual bool feeding() const { return false; }
  // A number that stands for the call that comes next; when fed, it must be the recorded call's. `what` names the call.
  virtual void expect_call(std::string_view what, uint64_t number) { (void)what, (void)number; }
  virtual void replay(Recording&) {}

 private:
  uint64_t storages_ = 0;
};

struct DeviceStatus {
  DeviceKind kind;
  bool built = false;
  std::string missing;  // why it cannot be opened; empty when it can
};
std::vector<DeviceStatus> device_statuses();  // one per kind, in order

// What --device, --isa and --math accept. All throw dr::Error with one line that names what is accepted.
DeviceKind parse_device(std::string_view name);
MathTier parse_math(std::string_view name, DeviceKind device);
void expect_math(MathTier math, DeviceKind device);  // fast is for simt, cuda and hip
std::shared_ptr<Device> open_device(DeviceKind kind, std::string_view cpu_isa = "");
// The best instruction set that was compiled in and runs here, or the one asked for.
Backend best_cpu_backend(std::string_view isa = "");

}  // namespace dr
