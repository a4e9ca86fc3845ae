// Every check of every case of every op; then the same harness with faults put in, each of which must be caught.

#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/core/backends.h"
#include "kernels/harness/check.h"
#include "tests/kernels_names.h"

namespace dr::harness {
namespace {

CheckOptions options() {
  CheckOptions o;
  for (Backend b : cpu_backends()) o.targets.push_back(b);
  if (const char* scale = std::getenv("TOL_SCALE")) o.tolerance_scale = std::atof(scale);
  return o;
}

std::vector<TestCase> tested_cases() {
  std::vector<TestCase> list;
  for (TestCase& c : all_cases())
    if (!c.spec.bench) list.push_back(std::move(c));
  return list;
}

class Ops : public testing::TestWithParam<TestCase> {};

TEST_P(Ops, HoldsTheContract) {
  const TestCase& c = GetParam();
  const Report report = check_case(c, options());
  for (const std::string& line : report.failures) ADD_FAILURE() << line;
  if (!report.ok())
    std::printf("rerun: build/dreamroad audit --op %s --case '%s'\n", report.op.c_str(), report.name.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, Ops, testing::ValuesIn(tested_cases()),
                         [](const auto& info) { return test_name(info.param.id()); });

struct FaultCase {
  Fault fault;
  TestCase test;
};

// For every op and fault, the first case in which the fault can show.
std::vector<FaultCase> fault_cases() {
  std::vector<FaultCase> list;
  const CheckOptions o = options();
  const std::vector<TestCase> cases = tested_cases();
  for (Fault fault : kFaults)
    for (size_t i = 0, done = 0; i < cases.size(); i++) {
      if (i && cases[i].op->name() != cases[i - 1].op->name()) done = 0;
      if (!done && applies(fault, cases[i], o)) list.push_back({fault, cases[i]}), done = 1;
    }
  return list;
}

class InjectedFaults : public testing::TestWithParam<FaultCase> {};

TEST_P(InjectedFaults, AreCaught) {
  CheckOptions o = options();
  o.fault = GetParam().fault;
  EXPECT_FALSE(check_case(GetParam().test, o).ok()) << GetParam().test.id() << " passes with " << name_of(o.fault);
}

INSTANTIATE_TEST_SUITE_P(All, InjectedFaults, testing::ValuesIn(fault_cases()), [](const auto& info) {
  return std::string(name_of(info.param.fault)) + "__" + test_name(info.param.test.id());
});

}  // namespace
}  // namespace dr::harness
