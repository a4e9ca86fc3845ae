// Device, arena, tensor.

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/add/add.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

std::vector<float> counting(int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0.f);
  return v;
}

TEST(Device, NamesWhatIsAccepted) {
  EXPECT_EQ(parse_device("cpu"), DeviceKind::cpu);
  EXPECT_TRUE(refuses([] { (void)parse_device("gpu"); }, "accepted: cpu, simt, cuda, hip; built: cpu"));
  for (const DeviceStatus& s : device_statuses()) {
    if (s.missing.empty()) {
      EXPECT_EQ(open_device(s.kind)->kind(), s.kind);
    } else {
      EXPECT_TRUE(refuses([&] { (void)open_device(s.kind); }, format("device {}: ", name_of(s.kind))))
          << name_of(s.kind);
      EXPECT_TRUE(refuses([&] { (void)open_device(s.kind); }, "built: cpu")) << name_of(s.kind);
    }
  }
#ifndef DR_WITH_cuda
  EXPECT_TRUE(refuses([] { (void)open_device(DeviceKind::cuda); },
                      "device cuda: this program was built without CUDA; built: cpu"));
#endif
}

TEST(Device, RefusesAnUnknownInstructionSetOrTier) {
  EXPECT_TRUE(refuses([] { (void)best_cpu_backend("sse9"); }, "accepted: "));
  EXPECT_EQ(parse_math("canonical", DeviceKind::cpu), MathTier::canonical);
  EXPECT_EQ(parse_math("fast", DeviceKind::cuda), MathTier::fast);
  EXPECT_TRUE(refuses([] { (void)parse_math("fast", DeviceKind::cpu); }, "accepted there: canonical"));
  EXPECT_TRUE(refuses([] { (void)parse_math("quick", DeviceKind::cpu); }, "accepted: canonical, fast"));
  EXPECT_TRUE(refuses([] { Runtime({.math = MathTier::fast}); }, "math fast"));
}

TEST(Device, CpuMemoryIsAlignedAndCounted) {
  const std::shared_ptr<Device> cpu = open_device(DeviceKind::cpu);
  EXPECT_TRUE(is_cpu(cpu->backend()));
  EXPECT_GT(cpu->memory().available, size_t{0});
  EXPECT_LE(cpu->memory().available, cpu->memory().total);
  for (size_t bytes : {size_t{64}, size_t{1} << 20, size_t{9} << 20}) {
    void* p = cpu->allocate(bytes);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    cpu->fill(p, 0xab, bytes);
    unsigned char last = 0;
    cpu->copy_out(&last, static_cast<char*>(p) + bytes - 1, 1);
    EXPECT_EQ(last, 0xab);
    cpu->free(p, bytes);
  }
}

TEST(Arena, SizeClassesWasteAtMostA32nd) {
  size_t before = 0;
  for (size_t bytes = 0; bytes < 100000; bytes += 7) {
    const size_t size = Arena::size_class(bytes);
    EXPECT_GE(size, std::max<size_t>(bytes, 1));
    EXPECT_EQ(size % 64, 0u);
    EXPECT_GE(size, before) << bytes;
    EXPECT_LE(size, std::max<size_t>(64, bytes <= 2048 ? bytes + 63 : bytes + bytes / 32)) << bytes;
    EXPECT_EQ(Arena::size_class(size), size);
    before = size;
  }
}

TEST(Arena, AStepAllocatesNothingAfterItsFirstPass) {
  Runtime r({.threads = 1});
  const Tensor x = random(r, {64, 100}, 1), w = random(r, {100}, 2), dy = random(r, {64, 100}, 3);
  const auto step = [&](bool checkpoint) {
    GradientAccumulator sum(r, 4);
    for (int micro_batch = 0; micro_batch < 2; micro_batch++) {
      Tape tape(r, {.leaves = 2});
      tape.watch(w);
      const auto block = [&](Tape& t) { return t.apply(Jitter{}, t.apply(Gain{}, x, w)); };
      const Tensor h = checkpoint ? tape.checkpoint(block) : block(tape);
      tape.backward(tape.apply(Add{}, h, tape.apply(Product{}, h, h)), dy);
      sum.add({tape.gradient(w)});
    }
    (void)sum.finish();
  };
  for (bool checkpoint : {false, true}) {
    step(checkpoint);
    const uint64_t after_first = r.arena()->system_allocations();
    const size_t live = r.arena()->stats().live;
    for (int i = 0; i < 3; i++) step(checkpoint);
    EXPECT_EQ(r.arena()->system_allocations(), after_first);
    EXPECT_EQ(r.arena()->stats().live, live) << "a step leaks";
  }
  EXPECT_GT(r.arena()->system_allocations(), 0u);
}

TEST(Arena, CountsLiveBytesPeakAndLabels) {
  auto arena = std::make_shared<Arena>(open_device(DeviceKind::cpu));
  {
    Arena::LabelScope scope(*arena, "encoder");
    const Tensor a = Tensor::empty(arena, DType::f32, {1024});
    {
      Arena::LabelScope inner(*arena, "decoder");
      const Tensor b = Tensor::empty(arena, DType::f32, {2048});
      EXPECT_EQ(arena->stats().live, size_t{3 * 4096});
    }
    EXPECT_EQ(arena->stats().live, size_t{4096});
    EXPECT_EQ(arena->stats().cached, size_t{8192});
  }
  EXPECT_EQ(arena->stats().live, 0u);
  EXPECT_EQ(arena->stats().peak, size_t{3 * 4096});
  ASSERT_EQ(arena->stats().labels.size(), 3u);
  EXPECT_EQ(arena->stats().labels[1].peak, size_t{4096});
  EXPECT_EQ(arena->stats().labels[2].peak, size_t{8192});
  EXPECT_NE(arena->table().find("decoder"), std::string::npos);
  const uint64_t before = arena->system_allocations();
  arena->trim();
  EXPECT_EQ(arena->stats().cached, 0u);
  (void)Tensor::empty(arena, DType::f32, {1024});
  EXPECT_EQ(arena->system_allocations(), before + 1);
}

// Too little memory at first, enough once the cache has been given back.
TEST(Arena, LargeBlocksAreSharedOutAndBecomeWholeAgain) {
  auto arena = std::make_shared<Arena>(open_device(DeviceKind::cpu));
  constexpr int64_t kMiB = 1 << 20;
  const auto block = [&](int64_t mib) { return Tensor::empty(arena, DType::u8, {mib * kMiB}); };
  const void* const whole = [&] { return block(16).view().data; }();
  ASSERT_EQ(arena->system_allocations(), 1u);
  for (int order = 0; order < 2; order++) {
    Tensor a = block(4), b = block(8), c = block(3);
    EXPECT_EQ(arena->system_allocations(), 1u) << "all three fit into the freed block";
    EXPECT_EQ(arena->stats().cached, size_t{kMiB});
    std::vector<const std::byte*> at;
    for (const Tensor* t : {&a, &b, &c}) at.push_back(static_cast<const std::byte*>(t->view().data));
    EXPECT_EQ(at[1], at[0] + 4 * kMiB);
    EXPECT_EQ(at[2], at[1] + 8 * kMiB);
    if (order == 0) a = Tensor(), c = Tensor(), b = Tensor();
    else b = Tensor(), c = Tensor(), a = Tensor();
    EXPECT_EQ(arena->stats().live, 0u);
    EXPECT_EQ(arena->stats().cached, size_t{16 * kMiB});
    EXPECT_EQ(block(16).view().data, whole) << "the parts are one block again";
  }
  EXPECT_EQ(arena->system_allocations(), 1u);
  {
    const Tensor a = block(4);
    arena->trim();
    EXPECT_EQ(arena->stats().cached, size_t{12 * kMiB}) << "a block of which a part is in use stays";
  }
  arena->trim();
  EXPECT_EQ(arena->stats().cached, 0u);
}

TEST(Arena, GivesItsCacheBackBeforeItFails) {
  struct Small final : Device {
    std::shared_ptr<Device> cpu = open_device(DeviceKind::cpu);
    size_t left = 1 << 20;
    DeviceKind kind() const override { return DeviceKind::cpu; }
    std::string name() const override { return "small"; }
    Backend backend() const override { return cpu->backend(); }
    bool host_visible() const override { return true; }
    void* allocate(size_t bytes) override {
      if (bytes > left) return nullptr;
      left -= bytes;
      return cpu->allocate(bytes);
    }
    void free(void* p, size_t bytes) noexcept override {
      left += bytes;
      cpu->free(p, bytes);
    }
    void copy(void* to, const void* from, size_t n) override { cpu->copy(to, from, n); }
    void copy_in(void* to, const void* from, size_t n) override { cpu->copy_in(to, from, n); }
    void copy_out(void* to, const void* from, size_t n) override { cpu->copy_out(to, from, n); }
    void fill(void* to, uint8_t byte, size_t n) override { cpu->fill(to, byte, n); }
    void synchronize() override {}
    MemoryInfo memory() const override { return {1 << 20, left}; }
  };
  auto arena = std::make_shared<Arena>(std::make_shared<Small>());
  { const Tensor a = Tensor::empty(arena, DType::u8, {600 << 10}); }
  EXPECT_GT(arena->stats().cached, size_t{600} << 10);
  const Tensor b = Tensor::empty(arena, DType::u8, {900 << 10});
  EXPECT_EQ(arena->stats().cached, 0u);
  EXPECT_TRUE(refuses([&] { (void)Tensor::empty(arena, DType::u8, {900 << 10}); }, "out of memory on cpu"));
}

TEST(Tensor, ViewsShareMemoryAndCopiesFollowLogicalOrder) {
  Runtime r({.threads = 1});
  const Tensor t = r.from(counting(24), {2, 3, 4});
  EXPECT_EQ(t.slice(1, 1, 2).floats(), (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(t.slice(-1, 1, 2).slice(0, 1, 1).floats(), (std::vector<float>{13, 14, 17, 18, 21, 22}));
  EXPECT_EQ(t.transpose(0, 1).floats(),
            (std::vector<float>{0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23}));
  EXPECT_EQ(t.reshape({6, 4}).slice(0, 4, 2).floats(), (std::vector<float>{16, 17, 18, 19, 20, 21, 22, 23}));
  const Tensor middle = t.slice(1, 1, 1);  // rows of 4 with gaps
  EXPECT_EQ(middle.reshape({2, 4}).floats(), (std::vector<float>{4, 5, 6, 7, 16, 17, 18, 19}));
  EXPECT_EQ(middle.reshape({1, 2, 1, 4, 1}).floats(), middle.floats());
  EXPECT_EQ(middle.clone().storage_id() == t.storage_id(), false);
  EXPECT_EQ(middle.clone().floats(), middle.floats());
  t.transpose(0, 1).copy_from(std::span<const float>(counting(24)));
  EXPECT_EQ(t.transpose(0, 1).floats(), counting(24));
  EXPECT_EQ(t.slice(0, 0, 1).floats(), (std::vector<float>{0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19}));
}

TEST(Tensor, OutlivesTheRuntimeThatMadeIt) {
  Tensor t;
  {
    Runtime r({.threads = 1});
    t = r.from(counting(100), {100});
  }
  EXPECT_EQ(t.floats(), counting(100));
}

TEST(Tensor, HoldsEveryTypeAndEmptyShapes) {
  Runtime r({.threads = 1});
  EXPECT_EQ(r.from(std::vector<int64_t>{-1, 5}, {2}).to_vector<int64_t>(), (std::vector<int64_t>{-1, 5}));
  EXPECT_EQ(r.from(std::vector<uint8_t>{1, 255}, {2, 1}).to_vector<uint8_t>(), (std::vector<uint8_t>{1, 255}));
  EXPECT_EQ(r.ones(DType::bf16, {3}).floats(), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(r.zeros(DType::f32, {0, 5}).floats().size(), 0u);
  EXPECT_TRUE(r.zeros(DType::f32, {0, 5}).present());
  EXPECT_FALSE(Tensor().present());
}

TEST(Tensor, RefusesBadShapes) {
  Runtime r({.threads = 1});
  const Tensor t = r.from(counting(24), {2, 3, 4});
  EXPECT_TRUE(refuses([&] { (void)t.slice(1, 2, 2); }, "slice: elements 2 to 4 of axis 1 of f32(2,3,4)"));
  EXPECT_TRUE(refuses([&] { (void)t.slice(3, 0, 1); }, "has no axis 3"));
  EXPECT_TRUE(refuses([&] { (void)t.reshape({5, 5}); }, "does not fit"));
  EXPECT_TRUE(refuses([&] { (void)t.slice(1, 0, 2).reshape({4, 4}); }, "is strided"));
  EXPECT_TRUE(refuses([&] { (void)t.transpose(1, 2); }, "the last axis stays"));
  EXPECT_TRUE(refuses([&] { (void)t.to_vector<int32_t>(); }, "as i32 values"));
  EXPECT_TRUE(refuses([&] { (void)r.from(counting(5), {6}); }, "5 f32 values into f32(6)"));
  EXPECT_TRUE(refuses([&] { (void)r.empty(DType::f32, {1 << 30, 1 << 30, 1 << 30}); }, "cannot have shape"));
  EXPECT_TRUE(refuses([&] { (void)r.empty(DType::f32, {4, -1}); }, "cannot have shape"));
}

}  // namespace
}  // namespace dr::test
