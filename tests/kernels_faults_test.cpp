// Bad indices on a device: a kernel cannot throw, so whoever waits for the device does, with an error that says what
// the CPU's says; and the device goes on with something defined.

#include "kernels/core/device_api.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/scatter_add/scatter_add.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

// What run(ctx) throws on the CPU, and what the emulator's synchronize throws after it.
class Faults : public testing::Test {
 protected:
  void SetUp() override {
    if (!(api_ = device_api(Backend::simt))) GTEST_SKIP() << "the emulator is not built in";
  }
  template <class F>
  std::string on_cpu(F&& run) {
    return message(cpu_backends().front(), run);
  }
  template <class F>
  std::string on_device(F&& run) {
    return message(Backend::simt, run);
  }

  DeviceApi* api_ = nullptr;

 private:
  template <class F>
  std::string message(Backend backend, F&& run) {
    alignas(64) static std::byte scratch[1 << 16];
    Context ctx;
    ctx.backend = backend;
    ctx.scratch = scratch;
    ctx.fault = is_cpu(backend) ? nullptr : api_->fault();
    try {
      run(ctx);
      if (!is_cpu(backend)) api_->synchronize(nullptr);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  }
};

// Both name the op, the value and the ends of the accepted range.
void expect_alike(const std::string& cpu, const std::string& device, const std::string& op, int64_t value, int64_t low,
                  int64_t high) {
  EXPECT_EQ(device, format("{}: {} is out of range; accepted: {} to {}", op, value, low, high));
  for (const std::string& part : {op, format(" is {},", value), format(" {}", low), format(" to {}", high)})
    EXPECT_NE(cpu.find(part), cpu.npos) << cpu << " lacks '" << part << "'";
}

TEST_F(Faults, NameOpValueAndRange) {
  for (int32_t bad : {-2, 5, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    Indices index({2, 3}, std::vector<int32_t>{0, 1, 2, 4, bad, 0});
    Tensor x({2, 5, 4}, 1), rows({2, 3, 4}, 2), sums({2, 5, 4});
    const auto gather = [&](Context& ctx) { run_forward(ctx, Gather{}, {x.view, index.view}, {rows.view}); };
    const auto gradient = [&](Context& ctx) {
      run_backward(ctx, Gather{}, {x.view, index.view}, {rows.view}, {rows.view}, {sums.view});
    };
    const auto scatter = [&](Context& ctx) { run_forward(ctx, ScatterAdd{5}, {rows.view, index.view}, {sums.view}); };
    const auto pick = [&](Context& ctx) {
      run_backward(ctx, ScatterAdd{5}, {rows.view, index.view}, {sums.view}, {sums.view}, {rows.view});
    };
    expect_alike(on_cpu(gather), on_device(gather), "gather", bad, -1, 4);
    expect_alike(on_cpu(gradient), on_device(gradient), "gather", bad, -1, 4);
    expect_alike(on_cpu(scatter), on_device(scatter), "scatter_add", bad, -1, 4);
    expect_alike(on_cpu(pick), on_device(pick), "scatter_add", bad, -1, 4);
  }
  for (int32_t bad : {-1, 7}) {
    Indices ids({2, 3}, std::vector<int32_t>{0, 1, 6, 4, bad, 0});
    Tensor table({7, 4}, 3), y({2, 3, 4}, 4), dtable({1, 7, 4});
    const auto look_up = [&](Context& ctx) { run_forward(ctx, Embedding{}, {table.view, ids.view}, {y.view}); };
    const auto gradient = [&](Context& ctx) {
      run_backward(ctx, Embedding{}, {table.view, ids.view}, {y.view}, {y.view}, {dtable.view});
    };
    expect_alike(on_cpu(look_up), on_device(look_up), "embedding", bad, 0, 6);
    expect_alike(on_cpu(gradient), on_device(gradient), "embedding", bad, 0, 6);
  }
}

TEST_F(Faults, LeaveSomethingDefinedAndAreForgotten) {
  Indices index({1, 3}, std::vector<int32_t>{2, 3, 1});
  Tensor x({1, 3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6}), y = unwritten({1, 3, 2});
  const auto gather = [&](Context& ctx) { run_forward(ctx, Gather{}, {x.view, index.view}, {y.view}); };
  EXPECT_NE(on_device(gather), "nothing");
  EXPECT_EQ(y.data, (std::vector<float>{5, 6, 0, 0, 3, 4}));  // as if the index were -1
  const auto scatter = [&](Context& ctx) { run_forward(ctx, ScatterAdd{3}, {x.view, index.view}, {y.view}); };
  EXPECT_NE(on_device(scatter), "nothing");
  EXPECT_EQ(y.data, (std::vector<float>{0, 0, 5, 6, 1, 2}));
  index[1] = 0;
  EXPECT_EQ(on_device(gather), "nothing");
  EXPECT_EQ(y.data, (std::vector<float>{5, 6, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace dr
