#include "runtime/device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "kernels/core/backends.h"
#include "kernels/core/device_api.h"

namespace dr {
namespace {

// Blocks from here on are advised to use huge pages: the first touch is then 2 times faster and walks across rows 1.4
// times (measured on 256 MB), while a smaller block would waste much of its last page.
constexpr size_t kHugePage = size_t{2} << 20, kHugeBlock = 2 * kHugePage;

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(Backend b) : backend_(b) {}
  DeviceKind kind() const override { return DeviceKind::cpu; }
  Backend backend() const override { return backend_; }
  bool host_visible() const override { return true; }

  std::string name() const override {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
      if (line.starts_with("model name") && line.find(": ") != std::string::npos)
        return format("{} ({})", line.substr(line.find(": ") + 2), name_of(backend_));
    return format("CPU ({})", name_of(backend_));
  }

  void* allocate(size_t bytes) override {
    const bool huge = bytes >= kHugeBlock;
    const size_t alignment = huge ? kHugePage : 64;
    void* p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (p && huge) (void)madvise(p, bytes, MADV_HUGEPAGE);  // advice only: refusal costs speed, nothing else
    return p;
  }
  void free(void* p, size_t) noexcept override { std::free(p); }
  void copy(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_in(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_out(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill(void* to, uint8_t byte, size_t bytes) override { std::memset(to, byte, bytes); }
  void synchronize() override {}

  MemoryInfo memory() const override {
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    MemoryInfo m{size_t(sysconf(_SC_PHYS_PAGES)) * page, size_t(sysconf(_SC_AVPHYS_PAGES)) * page};
    std::ifstream info("/proc/meminfo");  // MemAvailable counts what the page cache would give back
    for (std::string word; info >> word;)
      if (size_t kib; word == "MemAvailable:" && info >> kib) m.available = kib << 10;
    return m;
  }

 private:
  Backend backend_;
};

// A device with kernels of its own, on one stream.
class GpuDevice final : public Device {
 public:
  GpuDevice(DeviceKind kind, Backend backend, DeviceApi& api)
      : kind_(kind), backend_(backend), api_(api), stream_(api.create_stream()) {}
  ~GpuDevice() override { api_.destroy_stream(stream_); }
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  DeviceKind kind() const override { return kind_; }
  std::string name() const override { return api_.name(); }
  Backend backend() const override { return backend_; }
  void* stream() const override { return stream_; }
  DeviceFault* fault() override { return api_.fault(); }
  bool host_visible() const override { return false; }

  void* allocate(size_t bytes) override { return api_.allocate(bytes); }
  void free(void* p, size_t) noexcept override { api_.free(p); }
  void copy(void* to, const void* from, size_t bytes) override {
    if (mode_ != Mode::feeding) api_.copy(to, from, bytes, stream_);
  }
  // From pageable memory, which the vendors' copies have read when they return; a recording copies from memory of its own.
  void copy_in(void* to, const void* from, size_t bytes) override {
    if (mode_ == Mode::direct) return api_.copy_in(to, from, bytes, stream_);
    std::vector<Graph::Input>& inputs = recording_->inputs;
    if (mode_ == Mode::recording) {
      inputs.push_back({api_.allocate_host(bytes), bytes});
      api_.copy_in(to, inputs.back().data, bytes, stream_);
    } else {
      CHECK(next_input_ < inputs.size() && inputs[next_input_].bytes == bytes,
            "recorded work: copy {} to the device has {} bytes, {} when it was recorded", next_input_, bytes,
            next_input_ < inputs.size() ? format("{}", inputs[next_input_].bytes) : "there was none");
      next_input_++;
    }
    std::memcpy(inputs[mode_ == Mode::recording ? inputs.size() - 1 : next_input_ - 1].data, from, bytes);
  }
  void copy_out(void* to, const void* from, size_t bytes) override {
    expect_direct("a copy to the host");
    api_.copy_out(to, from, bytes, stream_);
    api_.synchronize(stream_);
  }
  void fill(void* to, uint8_t byte, size_t bytes) override {
    if (mode_ != Mode::feeding) api_.fill(to, byte, bytes, stream_);
  }
  void synchronize() override {
    expect_direct("waiting for the device");
    api_.synchronize(stream_);
  }

  bool can_record() const override { return true; }
  void begin_recording() override {
    expect_direct("a recording");
    recording_ = std::make_shared<Graph>(api_);
    api_.begin_capture(stream_);
    mode_ = Mode::recording;
  }
  std::shared_ptr<Recording> end_recording() override {
    mode_ = Mode::direct;
    recording_->graph = api_.end_capture(stream_);
    return std::exchange(recording_, nullptr);
  }
  void begin_feeding(Recording& r) override {
    expect_direct("a recording");
    api_.synchronize(stream_);  // the last replay has read its copies
    recording_ = static_cast<Graph&>(r).shared_from_this();
    next_input_ = next_call_ = 0;
    mode_ = Mode::feeding;
  }
  void end_feeding() override {
    mode_ = Mode::direct;
    recording_ = nullptr;
  }
  bool feeding() const override { return mode_ == Mode::feeding; }
  void expect_call(std::string_view what, uint64_t number) override {
    if (mode_ == Mode::recording) recording_->calls.push_back(number);
    if (mode_ != Mode::feeding) return;
    CHECK(next_call_ < recording_->calls.size() && recording_->calls[next_call_] == number,
          "recorded work: call {}, of {}, has other shapes or lies elsewhere than when it was recorded", next_call_, what);
    next_call_++;
  }
  void replay(Recording& r) override { api_.replay(static_cast<Graph&>(r).graph, stream_); }

  MemoryInfo memory() const override {
    MemoryInfo m;
    api_.memory(m.total, m.available);
    return m;
  }

 private:
  enum class Mode : uint8_t { direct, recording, feeding };
  struct Graph final : Recording, std::enable_shared_from_this<Graph> {
    struct Input {
      void* data;
      size_t bytes;
    };
    explicit Graph(DeviceApi& a) : api(a) {}
    ~Graph() override {
      if (graph) api.destroy_graph(graph);
      for (const Input& i : inputs) api.free_host(i.data);
    }
    DeviceApi& api;
    void* graph = nullptr;
    std::vector<Input> inputs;     // what copies in are made from, in order
    std::vector<uint64_t> calls;   // numbers of the ops' calls, in order
  };
  void expect_direct(std::string_view what) const {
    CHECK(mode_ == Mode::direct, "recorded work: {} while work is recorded; it must wait for the end", what);
  }

  DeviceKind kind_;
  Backend backend_;
  DeviceApi& api_;
  void* stream_;
  Mode mode_ = Mode::direct;
  std::shared_ptr<Graph> recording_;
  size_t next_input_ = 0, next_call_ = 0;
};

struct Kind {
  DeviceKind kind;
  Backend backend;
  std::string_view build_name;  // "this program was built without CUDA"
};
constexpr Kind kKinds[] = {{DeviceKind::simt, Backend::simt, "the SIMT emulator"},
                           {DeviceKind::cuda, Backend::cuda, "CUDA"},
                           {DeviceKind::hip, Backend::hip, "HIP"}};

std::string built_names() {
  std::string names = "cpu";
  for (const Kind& k : kKinds)
    if (device_api(k.backend)) names += ", " + std::string(name_of(k.kind));
  return names;
}

}  // namespace

std::vector<DeviceStatus> device_statuses() {
  std::vector<DeviceStatus> list{{DeviceKind::cpu, true, ""}};
  for (const Kind& k : kKinds) {
    DeviceApi* const api = device_api(k.backend);
    list.push_back({k.kind, api != nullptr,
                    api ? api->missing() : format("this program was built without {}", k.build_name)});
  }
  return list;
}

DeviceKind parse_device(std::string_view name) {
  for (DeviceKind k : {DeviceKind::cpu, DeviceKind::simt, DeviceKind::cuda, DeviceKind::hip})
    if (name == name_of(k)) return k;
  fail("device '{}': no such device; accepted: cpu, simt, cuda, hip; built: {}", name, built_names());
}

MathTier parse_math(std::string_view name, DeviceKind device) {
  CHECK(name == "canonical" || name == "fast", "math '{}': no such tier; accepted: canonical, fast", name);
  const MathTier math = name == "fast" ? MathTier::fast : MathTier::canonical;
  expect_math(math, device);
  return math;
}

void expect_math(MathTier math, DeviceKind device) {
  CHECK(math != MathTier::fast || device != DeviceKind::cpu,
        "math fast: it does not exist on device cpu; accepted there: canonical");
}

Backend best_cpu_backend(std::string_view isa) { return isa.empty() ? cpu_backends().front() : cpu_backend(isa); }

std::shared_ptr<Device> open_device(DeviceKind kind, std::string_view cpu_isa) {
  if (kind == DeviceKind::cpu) return std::make_shared<CpuDevice>(best_cpu_backend(cpu_isa));
  CHECK(cpu_isa.empty(), "instruction set '{}' was asked for on device {}; only cpu takes one", cpu_isa, name_of(kind));
  for (const Kind& k : kKinds) {
    if (k.kind != kind) continue;
    DeviceApi* const api = device_api(k.backend);
    CHECK(api, "device {}: this program was built without {}; built: {}", name_of(kind), k.build_name, built_names());
    const std::string reason = api->missing();
    CHECK(reason.empty(), "device {}: {}; built: {}", name_of(kind), reason, built_names());
    return std::make_shared<GpuDevice>(kind, k.backend, *api);
  }
  fail("device kind {} is unknown", int(kind));
}

}  // namespace dr
