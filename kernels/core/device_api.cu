#include "kernels/core/device_api.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/core/gpu.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Throws for a fault that a kernel left, and forgets it.
void throw_fault(DeviceFault& f) {
  if (!f.raised) return;
  const DeviceFault seen = std::exchange(f, {});
  fail("{}: {} is out of range; accepted: {} to {}", seen.op, seen.value, seen.low, seen.high);
}

#if defined(DR_BACKEND_simt)

// The emulator: memory of the host, kernels that have run by the time their launch returns.
class Api final : public DeviceApi {
 public:
  std::string missing() const override { return ""; }
  std::string name() const override { return format("emulator, {} lanes", emulator::settings().lanes); }
  int multiprocessors() const override { return 4; }
  bool host_visible() const override { return true; }

  void* allocate(size_t bytes) override {
    void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (p) std::memset(p, emulator::settings().poison, bytes);
    return p;
  }
  void free(void* p) noexcept override { std::free(p); }
  void* allocate_host(size_t bytes) override { return allocate(bytes); }
  void free_host(void* p) noexcept override { std::free(p); }
  void memory(size_t& total, size_t& available) const override { total = available = size_t{8} << 30; }

  void* create_stream() override { return emulator::create_stream(); }
  void destroy_stream(void* s) noexcept override { emulator::destroy_stream(stream(s)); }
  void copy(void* to, const void* from, size_t bytes, void* s) override {
    emulator::enqueue(stream(s), [=] { std::memcpy(to, from, bytes); });
  }
  void copy_in(void* to, const void* from, size_t bytes, void* s) override { copy(to, from, bytes, s); }
  void copy_out(void* to, const void* from, size_t bytes, void* s) override { copy(to, from, bytes, s); }
  void fill(void* to, uint8_t byte, size_t bytes, void* s) override {
    emulator::enqueue(stream(s), [=] { std::memset(to, byte, bytes); });
  }
  void synchronize(void*) override { throw_fault(fault_); }

  void* create_event() override { return new int; }
  void destroy_event(void* e) noexcept override { delete static_cast<int*>(e); }
  void record(void*, void*) override {}
  void wait(void*, void*) override {}
  double elapsed_us(void*, void*) override { return 0; }  // an emulator's time is no device's

  void begin_capture(void* s) override { emulator::begin_capture(stream(s)); }
  void* end_capture(void* s) override { return emulator::end_capture(stream(s)); }
  void replay(void* g, void* s) override { emulator::replay(static_cast<emulator::Graph*>(g), stream(s)); }
  void destroy_graph(void* g) noexcept override { emulator::destroy_graph(static_cast<emulator::Graph*>(g)); }

  DeviceFault* fault() override { return &fault_; }

 private:
  static emulator::Stream* stream(void* s) { return static_cast<emulator::Stream*>(s); }
  DeviceFault fault_;
};

#else

#if defined(DR_BACKEND_cuda)
#define GPU(name) cuda##name
constexpr const char* kVendor = "CUDA";
constexpr auto host_malloc = [](void** p, size_t bytes, unsigned flags) { return cudaHostAlloc(p, bytes, flags); };
constexpr auto host_free = [](void* p) { return cudaFreeHost(p); };
constexpr unsigned kHostDefault = cudaHostAllocDefault;
#else
#define GPU(name) hip##name
constexpr const char* kVendor = "HIP";
constexpr auto host_malloc = [](void** p, size_t bytes, unsigned flags) { return hipHostMalloc(p, bytes, flags); };
constexpr auto host_free = [](void* p) { return hipHostFree(p); };
constexpr unsigned kHostDefault = hipHostMallocDefault;
#endif

void check(GPU(Error_t) e, const char* what) {
  CHECK(e == GPU(Success), "{}: {} failed: {}", kVendor, what, GPU(GetErrorString)(e));
}

class Api final : public DeviceApi {
 public:
  std::string missing() const override {
    int count = 0;
    const GPU(Error_t) e = GPU(GetDeviceCount)(&count);
    if (e == GPU(Success) && count > 0) return "";
    return format("no {} device was found{}", kVendor, e == GPU(Success) ? "" : format(" ({})", GPU(GetErrorString)(e)));
  }
  std::string name() const override {
    const auto p = properties();
    return format("{}, {} multiprocessors", p.name, p.multiProcessorCount);
  }
  int multiprocessors() const override { return properties().multiProcessorCount; }
  bool host_visible() const override { return false; }

  void* allocate(size_t bytes) override {
    void* p = nullptr;
    if (GPU(Malloc)(&p, bytes ? bytes : 1) == GPU(Success)) return p;
    (void)GPU(GetLastError)();  // out of memory is an answer, not a failure of the device
    return nullptr;
  }
  void free(void* p) noexcept override { (void)GPU(Free)(p); }
  void* allocate_host(size_t bytes) override {
    void* p = nullptr;
    check(host_malloc(&p, bytes ? bytes : 1, kHostDefault), "allocating pinned memory");
    return p;
  }
  void free_host(void* p) noexcept override { (void)host_free(p); }
  void memory(size_t& total, size_t& available) const override { check(GPU(MemGetInfo)(&available, &total), "asking for memory"); }

  void* create_stream() override {
    GPU(Stream_t) s = nullptr;
    check(GPU(StreamCreateWithFlags)(&s, GPU(StreamNonBlocking)), "creating a stream");
    return s;
  }
  void destroy_stream(void* s) noexcept override { (void)GPU(StreamDestroy)(stream(s)); }
  void copy(void* to, const void* from, size_t bytes, void* s) override { copy(to, from, bytes, GPU(MemcpyDeviceToDevice), s); }
  void copy_in(void* to, const void* from, size_t bytes, void* s) override { copy(to, from, bytes, GPU(MemcpyHostToDevice), s); }
  void copy_out(void* to, const void* from, size_t bytes, void* s) override { copy(to, from, bytes, GPU(MemcpyDeviceToHost), s); }
  void fill(void* to, uint8_t byte, size_t bytes, void* s) override {
    if (bytes) check(GPU(MemsetAsync)(to, byte, bytes, stream(s)), "a fill");
  }
  void synchronize(void* s) override {
    check(GPU(StreamSynchronize)(stream(s)), "what was queued");
    if (fault_) throw_fault(*fault_);
  }

  void* create_event() override {
    GPU(Event_t) e = nullptr;
    check(GPU(EventCreate)(&e), "creating an event");
    return e;
  }
  void destroy_event(void* e) noexcept override { (void)GPU(EventDestroy)(event(e)); }
  void record(void* e, void* s) override { check(GPU(EventRecord)(event(e), stream(s)), "recording an event"); }
  void wait(void* s, void* e) override { check(GPU(StreamWaitEvent)(stream(s), event(e), 0), "waiting for an event"); }
  double elapsed_us(void* begin, void* end) override {
    float ms = 0;
    check(GPU(EventSynchronize)(event(end)), "waiting for an event");
    check(GPU(EventElapsedTime)(&ms, event(begin), event(end)), "reading a time");
    return 1e3 * double(ms);
  }

  void begin_capture(void* s) override {
    check(GPU(StreamBeginCapture)(stream(s), GPU(StreamCaptureModeThreadLocal)), "beginning a capture");
  }
  void* end_capture(void* s) override {
    GPU(Graph_t) graph = nullptr;
    GPU(GraphExec_t) exec = nullptr;
    check(GPU(StreamEndCapture)(stream(s), &graph), "ending a capture");
    check(GPU(GraphInstantiate)(&exec, graph, nullptr, nullptr, 0), "instantiating a graph");
    (void)GPU(GraphDestroy)(graph);
    return exec;
  }
  void replay(void* g, void* s) override { check(GPU(GraphLaunch)(static_cast<GPU(GraphExec_t)>(g), stream(s)), "a graph"); }
  void destroy_graph(void* g) noexcept override { (void)GPU(GraphExecDestroy)(static_cast<GPU(GraphExec_t)>(g)); }

  DeviceFault* fault() override {
    if (!fault_) fault_ = new (allocate_host(sizeof(DeviceFault))) DeviceFault;
    return fault_;
  }

 private:
#if defined(DR_BACKEND_cuda)
  using Properties = cudaDeviceProp;
#else
  using Properties = hipDeviceProp_t;
#endif
  static Properties properties() {
    Properties p;
    check(GPU(GetDeviceProperties)(&p, 0), "asking for properties");
    return p;
  }
  static void copy(void* to, const void* from, size_t bytes, GPU(MemcpyKind) kind, void* s) {
    if (bytes) check(GPU(MemcpyAsync)(to, from, bytes, kind, stream(s)), "a copy");
  }
  static GPU(Stream_t) stream(void* s) { return static_cast<GPU(Stream_t)>(s); }
  static GPU(Event_t) event(void* e) { return static_cast<GPU(Event_t)>(e); }
  DeviceFault* fault_ = nullptr;
};

#endif

}  // namespace
}  // namespace DR_BACKEND

template <>
DeviceApi& device_api_of<Backend::DR_BACKEND>() {
  static DR_BACKEND::Api api;
  return api;
}

}  // namespace dr
