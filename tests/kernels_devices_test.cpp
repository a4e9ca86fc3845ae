// Every case of every op on the devices that this program has: the bits of the CPU.

#include <gtest/gtest.h>

#include "kernels/core/backends.h"
#include "kernels/core/device_api.h"
#include "kernels/harness/check.h"
#include "tests/kernels_names.h"

namespace dr::harness {
namespace {

// Of the emulator three of audit's: they differ in lanes, order and fill.
std::vector<Target> device_targets() {
  std::vector<Target> list;
  if (device_api(Backend::simt)) {
    using emulator::Order;
    list.push_back({Backend::simt, {.lanes = 32, .order = Order::identity, .poison = 0xff}});
    list.push_back({Backend::simt, {.lanes = 32, .order = Order::reverse, .poison = 0x3c}});
    list.push_back({Backend::simt, {.lanes = 64, .hopper = false, .order = Order::seeded, .poison = 0xff}});
  }
  for (Backend b : {Backend::cuda, Backend::hip})
    if (DeviceApi* api = device_api(b); api && api->missing().empty()) list.push_back(b);
  return list;
}

struct DeviceCase {
  TestCase test;
  Target target;
};

std::vector<DeviceCase> device_cases() {
  std::vector<DeviceCase> list;
  for (const TestCase& c : all_cases())
    for (const Target& t : device_targets())
      if (!c.spec.bench && c.op->runs_on(t.backend)) list.push_back({c, t});
  return list;
}

class Devices : public testing::TestWithParam<DeviceCase> {};

TEST_P(Devices, HaveTheBitsOfTheCpu) {
  CheckOptions o;
  o.targets = {cpu_backends().front(), GetParam().target};
  const Report report = check_equal(GetParam().test, o);
  for (const std::string& line : report.failures) ADD_FAILURE() << line;
  if (!report.ok())
    std::printf("rerun: build/dreamroad audit --device %s --op %s --case '%s'\n",
                std::string(dr::name_of(GetParam().target.backend)).c_str(), report.op.c_str(), report.name.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, Devices, testing::ValuesIn(device_cases()), [](const auto& info) {
  return test_name(info.param.test.id()) + "__" + test_name(info.param.target.label());
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Devices);

TEST(Gpu, IsThere) {
  for (Backend b : {Backend::cuda, Backend::hip})
    if (DeviceApi* api = device_api(b); api && api->missing().empty()) return;
  GTEST_SKIP() << "no GPU: kernels run on the emulator alone";
}

}  // namespace
}  // namespace dr::harness
