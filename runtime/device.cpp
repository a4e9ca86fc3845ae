#include "runtime/device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/core/backends.h"

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

struct Slot {
  DeviceKind kind;
  std::string_view build_name;                // "this program was built without CUDA"
  std::string (*missing)();                   // null: not built
  std::shared_ptr<Device> (*open)();
};

constexpr Slot kSlots[] = {
#ifdef DR_WITH_simt
    {DeviceKind::simt, "the SIMT emulator", missing_simt, open_simt},
#else
    {DeviceKind::simt, "the SIMT emulator", nullptr, nullptr},
#endif
#ifdef DR_WITH_cuda
    {DeviceKind::cuda, "CUDA", missing_cuda, open_cuda},
#else
    {DeviceKind::cuda, "CUDA", nullptr, nullptr},
#endif
#ifdef DR_WITH_hip
    {DeviceKind::hip, "HIP", missing_hip, open_hip},
#else
    {DeviceKind::hip, "HIP", nullptr, nullptr},
#endif
};

std::string built_names() {
  std::string names = "cpu";
  for (const Slot& s : kSlots)
    if (s.missing) names += ", " + std::string(name_of(s.kind));
  return names;
}

}  // namespace

std::vector<DeviceStatus> device_statuses() {
  std::vector<DeviceStatus> list{{DeviceKind::cpu, true, ""}};
  for (const Slot& s : kSlots)
    list.push_back({s.kind, s.missing != nullptr,
                    s.missing ? s.missing() : format("this program was built without {}", s.build_name)});
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
  for (const Slot& s : kSlots) {
    if (s.kind != kind) continue;
    CHECK(s.missing, "device {}: this program was built without {}; built: {}", name_of(kind), s.build_name,
          built_names());
    const std::string reason = s.missing();
    CHECK(reason.empty(), "device {}: {}; built: {}", name_of(kind), reason, built_names());
    return s.open();
  }
  fail("device kind {} has no slot", int(kind));
}

}  // namespace dr
