// What ray_cast refuses, on the CPU before it starts and on a device by the time that somebody waits for it.

#include <gtest/gtest.h>

#include "kernels/core/backends.h"
#include "kernels/core/device_api.h"
#include "kernels/harness/check.h"
#include "kernels/ray_cast/ray_cast.h"

namespace dr::harness {
namespace {

std::vector<Backend> backends() {
  std::vector<Backend> list = cpu_backends();
  for (Backend b : {Backend::simt, Backend::cuda, Backend::hip})
    if (DeviceApi* api = device_api(b); api && api->missing().empty()) list.push_back(b);
  return list;
}

TEST(RayCast, RefusesTablesThatNameWhatIsNotThere) {
  const Case<RayCast> sound = RayCast::cases().front();  // cameras look at scenes 0, 1 and 0
  auto run = [&](int field, size_t at, double value) {
    Case<RayCast> c = sound;
    if (field >= 0) c.in[size_t(field)].list[at] = value;
    for (Backend b : backends()) {
      const auto call = [&] { run_case({erase(c.op), c}, b, 1, 1, [](const CallTensors&) {}); };
      if (field < 0) EXPECT_NO_THROW(call()) << name_of(b);
      else EXPECT_THROW(call(), Error) << name_of(b) << ": field " << field << ", element " << at << ": " << value;
    }
  };
  run(-1, 0, 0);
  constexpr int kSceneOf = 1, kLayout = 3;
  run(kSceneOf, 1, 2);
  run(kSceneOf, 2, -1);
  run(kLayout, kLayoutFirstCell, -1);
  run(kLayout, kLayoutFields + kLayoutColumns, 41);
  run(kLayout, kLayoutFields + kLayoutObjects, 4);
}

}  // namespace
}  // namespace dr::harness
