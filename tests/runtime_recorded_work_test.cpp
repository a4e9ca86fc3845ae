// Recorded work: the same bits as ordinary runs, with everything that the host computes anew.

#include <gtest/gtest.h>

#include "kernels/core/device_api.h"
#include "kernels/gelu/gelu.h"
#include "kernels/matmul/matmul.h"
#include "runtime/recorded_work.h"
#include "runtime/tape.h"

namespace dr::test {
namespace {

std::vector<float> numbers(int64_t n, int64_t seed) {
  std::vector<float> v;
  for (int64_t i = 0; i < n; i++) v.push_back(float((i * 37 + seed * 101) % 64 - 32) / 16);
  return v;
}

// One step of descent on a small network, from a batch that is another one each time.
struct Step {
  Runtime& runtime;
  Tensor w;
  Tensor y, dw;

  void operator()(int64_t number) {
    const Tensor x = runtime.from(numbers(5 * 8, number), {5, 8});
    Tape tape(runtime);
    tape.watch(w);
    y = tape.apply(Gelu{}, tape.apply(MatMul{}, x, w));
    tape.backward(y, runtime.from(numbers(5 * 3, number + 1), {5, 3}));
    dw = tape.gradient(w);
    runtime.add_to(w, dw);
  }
};

class RecordedWorkOn : public testing::TestWithParam<DeviceKind> {};

TEST_P(RecordedWorkOn, HasTheBitsOfOrdinaryRuns) {
  if (GetParam() != DeviceKind::cpu && !device_api(Backend::simt)) GTEST_SKIP() << "built without the emulator";
  Runtime plain, device({.device = GetParam()});
  Step expected{plain, plain.from(numbers(24, 7), {8, 3}), {}, {}}, step{device, device.from(numbers(24, 7), {8, 3}), {}, {}};
  RecordedWork work(device);
  for (int64_t i = 0; i < 6; i++) {
    expected(i);
    work.run([&] { step(i); });
    EXPECT_EQ(work.recorded(), GetParam() != DeviceKind::cpu && i >= 1);
    EXPECT_EQ(expected.y.floats(), step.y.floats()) << "step " << i;
    EXPECT_EQ(expected.dw.floats(), step.dw.floats()) << "step " << i;
    EXPECT_EQ(expected.w.floats(), step.w.floats()) << "step " << i;
  }
}
INSTANTIATE_TEST_SUITE_P(All, RecordedWorkOn, testing::Values(DeviceKind::cpu, DeviceKind::simt),
                         [](const auto& info) { return std::string(name_of(info.param)); });

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing";
}

TEST(RecordedWork, RefusesWhatDiffersFromTheRecording) {
  if (!device_api(Backend::simt)) GTEST_SKIP() << "built without the emulator";
  Runtime r({.device = DeviceKind::simt});
  Tensor y;
  const auto work = [&](int64_t n) { y = evaluate(r, Gelu{}, r.from(numbers(n, 1), {n, 1})); };
  RecordedWork recorded(r);
  for (int i = 0; i < 3; i++) recorded.run([&] { work(500); });
  const std::vector<float> before = y.floats();
  EXPECT_NE(refusal([&] { recorded.run([&] { work(300); }); }).find("another number than when it was recorded"), std::string::npos);
  EXPECT_NE(refusal([&] { recorded.run([&] { work(500), work(500); }); }).find("another number"), std::string::npos);
  EXPECT_NE(refusal([&] { recorded.run([&] {}); }).find("fewer tensors"), std::string::npos);
  EXPECT_NE(refusal([&] { recorded.run([&] { work(500), (void)y.floats(); }); }).find("while work is recorded"), std::string::npos);
  recorded.run([&] { work(500); });  // the recording is as good as before
  EXPECT_EQ(y.floats(), before);
}

}  // namespace
}  // namespace dr::test
