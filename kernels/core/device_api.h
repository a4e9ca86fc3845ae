#pragma once
// What host code needs of a device besides its kernels: memory, streams, events, graphs. One object per backend, made from
// device_api.cu; runtime/device.h builds on it.

#include <memory>
#include <string>

#include "kernels/core/context.h"

namespace dr {

class DeviceApi {
 public:
  virtual ~DeviceApi() = default;

  virtual std::string missing() const = 0;  // why it cannot be used here; empty where it can
  virtual std::string name() const = 0;     // "NVIDIA H200, 132 multiprocessors"
  virtual int multiprocessors() const = 0;
  virtual bool host_visible() const = 0;    // whether host code may read and write its memory

  virtual void* allocate(size_t bytes) = 0;  // 256-byte aligned, contents undefined; null when there is not enough
  virtual void free(void* p) noexcept = 0;
  virtual void* allocate_host(size_t bytes) = 0;  // pinned: copies to and from it need not wait
  virtual void free_host(void* p) noexcept = 0;
  virtual void memory(size_t& total, size_t& available) const = 0;  // bytes

  // A stream runs what it is given in order. Null is the default stream.
  virtual void* create_stream() = 0;
  virtual void destroy_stream(void* stream) noexcept = 0;
  virtual void copy(void* to, const void* from, size_t bytes, void* stream) = 0;
  virtual void copy_in(void* to, const void* host_from, size_t bytes, void* stream) = 0;   // queued
  virtual void copy_out(void* host_to, const void* from, size_t bytes, void* stream) = 0;  // queued
  virtual void fill(void* to, uint8_t byte, size_t bytes, void* stream) = 0;
  // Waits for all that the stream was given. Throws dr::Error where a kernel failed or met bad data.
  virtual void synchronize(void* stream) = 0;

  virtual void* create_event() = 0;
  virtual void destroy_event(void* event) noexcept = 0;
  virtual void record(void* event, void* stream) = 0;
  virtual void wait(void* stream, void* event) = 0;                   // what follows on the stream waits for the event
  virtual double elapsed_us(void* begin, void* end) = 0;              // both have happened

  // What is queued between begin and end is recorded, not run, and can then be run any number of times.
  virtual void begin_capture(void* stream) = 0;
  virtual void* end_capture(void* stream) = 0;  // a graph
  virtual void replay(void* graph, void* stream) = 0;
  virtual void destroy_graph(void* graph) noexcept = 0;

  virtual DeviceFault* fault() = 0;  // for Context::fault
};

// The backend's, which lives as long as the program; null where the program was built without it. In dispatch.cpp.
DeviceApi* device_api(Backend backend);

// What a .cu gives (device_api.cu).
template <Backend B>
DeviceApi& device_api_of();

}  // namespace dr
