// Bad data that a device's kernel meets is an exception of whoever waits for the device, and gone by the next call.

#include "kernels/core/device_api.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"
#include "tests/kernels_fixture.h"

namespace dr::test {
namespace {

class DeviceFaults : public testing::TestWithParam<Backend> {
 protected:
  DeviceFaults() : api_(*device_api(GetParam())) { ctx_.backend = GetParam(), ctx_.fault = api_.fault(); }
  ~DeviceFaults() override {
    for (void* p : memory_) api_.free(p);
  }

  template <class T>
  View put(const TensorOf<T>& t) {  // in the device's memory
    View v = t.view;
    v.data = memory_.emplace_back(api_.allocate(v.bytes()));
    api_.copy_in(v.data, t.data.data(), v.bytes(), nullptr);
    return v;
  }
  View row() { return put(unwritten({2})); }
  Tensor fetch(const View& v) {
    api_.synchronize(nullptr);
    Tensor t(v.sizes);
    api_.copy_out(t.data.data(), v.data, v.bytes(), nullptr);
    api_.synchronize(nullptr);
    return t;
  }
  std::string message() {  // of the fault; empty for none
    try {
      api_.synchronize(nullptr);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  DeviceApi& api_;
  Context ctx_;
  std::vector<void*> memory_;
};

TEST_P(DeviceFaults, CrossEntropyOfAClassThatIsNone) {
  const View logits = put(Tensor({2, 3}, 1));
  for (int32_t bad : {3, -1}) {
    const CrossEntropy::Out out{row(), row(), row()};
    run_forward(ctx_, CrossEntropy{}, {logits, put(Indices({2}, {2, bad}))}, out);
    EXPECT_NE(message().find(format("cross_entropy: {} is out of range; accepted: 0 to 2", bad)), std::string::npos);
    run_forward(ctx_, CrossEntropy{}, {logits, put(Indices({2}, {2, -100}))}, out);
    EXPECT_EQ(message(), "");
    EXPECT_EQ(fetch(out.loss)[1], 0);
  }
}

TEST_P(DeviceFaults, TwoHotCrossEntropyOfBinsThatDoNotAscend) {
  const View logits = put(Tensor({2, 3}, 1)), target = put(Tensor({2}, {0.f, 1.f}));
  for (float last : {1.f, kNan}) {
    const View bins = put(Tensor({3}, {-1.f, 1.f, last}));
    run_forward(ctx_, TwoHotCrossEntropy{}, {logits, target, bins}, {row(), row(), row()});
    EXPECT_NE(message().find("two_hot_cross_entropy: bins: 2 is out of range; accepted: 3 to 3"), std::string::npos);
  }
  run_forward(ctx_, TwoHotCrossEntropy{}, {logits, target, put(Tensor({3}, {-1.f, 1.f, 2.f}))}, {row(), row(), row()});
  EXPECT_EQ(message(), "");
}

std::vector<Backend> devices() {
  std::vector<Backend> list;
  for (Backend b : {Backend::simt, Backend::cuda, Backend::hip})
    if (DeviceApi* api = device_api(b); api && api->missing().empty()) list.push_back(b);
  return list;
}
INSTANTIATE_TEST_SUITE_P(All, DeviceFaults, testing::ValuesIn(devices()),
                         [](const auto& info) { return std::string(name_of(info.param)); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DeviceFaults);

}  // namespace
}  // namespace dr::test
