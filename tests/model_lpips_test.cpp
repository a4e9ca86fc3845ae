// LPIPS against the lpips package, on weights and images that both make by the same integer formula.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "io/safetensors.h"
#include "model/lpips.h"
#include "tests/io_files.h"
#include "tests/runtime_test_ops.h"
#include "train/read_lpips.h"

namespace dr::test {
namespace {

// ---- what tests/model_lpips_expected.py does, line by line ----

// Whole numbers in [0, 2^24), by the last steps of MurmurHash3.
uint32_t noise(uint32_t i, uint32_t seed) {
  uint32_t x = i ^ (seed * 0x9E3779B9u);
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return (x ^ (x >> 16)) >> 8;
}

using Weights = std::map<std::string, Tensor>;

struct Conv {
  int slice, index;
  int64_t out, in, kernel;
};
const std::vector<Conv> kAlex{{1, 0, 64, 3, 11}, {2, 3, 192, 64, 5}, {3, 6, 384, 192, 3}, {4, 8, 256, 384, 3},
                              {5, 10, 256, 256, 3}};
const std::vector<Conv> kVgg{{1, 0, 64, 3, 3},     {1, 2, 64, 64, 3},    {2, 5, 128, 64, 3},   {2, 7, 128, 128, 3},
                             {3, 10, 256, 128, 3}, {3, 12, 256, 256, 3}, {3, 14, 256, 256, 3}, {4, 17, 512, 256, 3},
                             {4, 19, 512, 512, 3}, {4, 21, 512, 512, 3}, {5, 24, 512, 512, 3}, {5, 26, 512, 512, 3},
                             {5, 28, 512, 512, 3}};

Weights weights(const Runtime& r, const std::vector<Conv>& trunk) {
  Weights all;
  uint32_t seed = 0;
  const auto add = [&](const std::string& name, const Sizes& sizes, auto&& value) {
    seed++;
    std::vector<float> v(size_t(sizes.count()));
    for (size_t i = 0; i < v.size(); i++) v[i] = value(float(noise(uint32_t(i), seed)));
    all[name] = r.from(v, sizes);
  };
  std::vector<int64_t> channels(5);
  for (const Conv& c : trunk) {
    const std::string name = format("net.slice{}.{}", c.slice, c.index);
    float scale = 1;
    for (int64_t part = c.in * c.kernel * c.kernel / 12; part > 0; part /= 4) scale /= 2;
    add(name + ".weight", {c.out, c.in, c.kernel, c.kernel}, [&](float n) { return (n * 0x1p-23f - 1) * scale; });
    add(name + ".bias", {c.out}, [](float n) { return (n * 0x1p-23f - 1) * 0x1p-4f; });
    channels[size_t(c.slice - 1)] = c.out;
  }
  for (int i = 0; i < 5; i++)
    add(format("lin{}.model.1.weight", i), {1, channels[size_t(i)], 1, 1},
        [&](float n) { return n * std::ldexp(1.f, 2 * i - 24); });
  return all;
}

Lpips network(Runtime& r, const Weights& w) {
  return {r, [&](const std::string& name) { return w.contains(name) ? w.at(name) : Tensor(); }};
}

std::vector<float> image(uint32_t seed, int64_t height, int64_t width) {  // two of them
  std::vector<float> v(size_t(2 * height * width * 3));
  for (size_t i = 0; i < v.size(); i++) v[i] = float(noise(uint32_t(i), seed) >> 16) / 128 - 1;
  return v;
}

struct Pair {
  Sizes sizes;
  std::vector<float> a, b, toward;

  Pair(int64_t height, int64_t width)
      : sizes{2, height, width, 3}, a(image(101, height, width)), b(image(102, height, width)),
        toward(image(103, height, width)) {
    for (size_t i = a.size() / 2; i < a.size(); i++) b[i] = 0.875f * a[i] + 0.125f * b[i];  // the second pair is alike
  }
};

// Computed by lpips 0.1.4 on torch 2.15.0 in double: tests/model_lpips_expected.py. `slope` is the derivative of the
// distance as image a moves along a third.
struct Expected {
  std::string name;
  const std::vector<Conv>* trunk;
  int64_t height, width;
  double distance[2], slope[2];
};
void PrintTo(const Expected& e, std::ostream* out) { *out << e.name; }

class LpipsTrunks : public testing::TestWithParam<Expected> {};

// Tolerances. An activation is a sum of up to 4608 terms that partly cancel, off by about sqrt(4608) u = 4e-6 of its
// size, and 5 or 13 layers of them follow one another; the mean over channels and pixels evens that out. The package in
// float is up to 3e-6 of the distance and 1e-5 of the slope away from itself in double; the bounds are a few times that.
TEST_P(LpipsTrunks, DistanceAndGradientAreThoseOfTheReference) {
  const Expected& e = GetParam();
  Runtime r({.threads = 2});
  const Lpips lpips = network(r, weights(r, *e.trunk));
  EXPECT_EQ(lpips.trunk(), e.name);
  const Pair p(e.height, e.width);
  const Tensor a = r.from(p.a, p.sizes), b = r.from(p.b, p.sizes);
  Tape tape(r);
  tape.watch(a);
  const Tensor d = lpips.distance(tape, a, b);
  ASSERT_EQ(d.sizes(), Sizes{2});
  tape.backward(d, r.ones(DType::f32, {2}));
  const std::vector<float> gradient = tape.gradient(a).floats();
  for (size_t n = 0; n < 2; n++) {
    EXPECT_NEAR(d.floats()[n], e.distance[n], 1e-5 * e.distance[n]) << n;
    double slope = 0;
    for (size_t i = n * p.a.size() / 2; i < (n + 1) * p.a.size() / 2; i++)
      slope += double(gradient[i]) * double(p.toward[i]);
    EXPECT_NEAR(slope, e.slope[n], 1e-4 * std::fabs(e.slope[n])) << n;
  }
}

TEST_P(LpipsTrunks, AnImageIsItself) {
  const Expected& e = GetParam();
  Runtime r({.threads = 2});
  const Lpips lpips = network(r, weights(r, *e.trunk));
  const Pair p(e.height, e.width);
  Tape tape(r, {.gradients = false});
  const Tensor a = r.from(p.a, p.sizes), b = r.from(p.b, p.sizes);
  EXPECT_EQ(bits_of(lpips.distance(tape, a, a.clone())), (std::vector<uint32_t>{0, 0}));
  const Tensor black = r.zeros(DType::f32, p.sizes);
  EXPECT_EQ(bits_of(lpips.distance(tape, black, black)), (std::vector<uint32_t>{0, 0}));
  // Nor does it matter what else is in the batch, or which of the two comes first.
  const std::vector<uint32_t> both = bits_of(lpips.distance(tape, a, b));
  EXPECT_EQ(bits_of(lpips.distance(tape, b, a)), both);
  EXPECT_EQ(bits_of(lpips.distance(tape, a.slice(0, 1, 1), b.slice(0, 1, 1)))[0], both[1]);
}

INSTANTIATE_TEST_SUITE_P(
    All, LpipsTrunks,
    testing::Values(Expected{"alex", &kAlex, 67, 39, {17.86151666908076, 0.7812022961743698},
                             {0.2579230176723657, -0.8737572812630828}},
                    Expected{"vgg", &kVgg, 35, 21, {4.681520249754088, 0.4922359976573213},
                             {1.1657441838695777, 1.3320939560330265}}),
    [](const auto& info) { return info.param.name; });

TEST(Lpips, ReadsAFile) {
  Runtime r({.threads = 2});
  const Weights w = weights(r, kAlex);
  std::vector<NamedView> arrays{{"lins.0.model.1.weight", w.at("lin0.model.1.weight").view()}};  // not asked for
  for (const auto& [name, tensor] : w) arrays.push_back({name, tensor.view()});
  Folder folder;
  const std::string path = folder.file("alex.safetensors");
  write_safetensors(path, arrays);
  const Pair p(31, 31);  // the smallest
  const Tensor a = r.from(p.a, p.sizes), b = r.from(p.b, p.sizes);
  Tape tape(r, {.gradients = false});
  EXPECT_EQ(bits_of(read_lpips(r, path).distance(tape, a, b)), bits_of(network(r, w).distance(tape, a, b)));

  arrays.erase(std::find_if(arrays.begin(), arrays.end(), [](auto& v) { return v.name == "net.slice4.8.bias"; }));
  write_safetensors(path, arrays);
  EXPECT_EQ(error_of([&] { read_lpips(r, path); }), path + ": there is no tensor net.slice4.8.bias");
}

TEST(Lpips, RefusesWhatDoesNotFit) {
  Runtime r({.threads = 1});
  const Weights right = weights(r, kAlex);
  for (const auto& [name, tensor] : right) {
    Weights w = right;
    w.erase(name);
    EXPECT_EQ(error_of([&] { network(r, w); }), "lpips: there is no tensor " + name);
    Sizes other = tensor.sizes();
    other[0]++;
    w[name] = r.zeros(DType::f32, other);
    EXPECT_TRUE(holds(error_of([&] { network(r, w); }), name + " must be "));
  }
  Weights w = right;
  w["lin1.model.1.weight"] = r.zeros(DType::bf16, {1, 192, 1, 1});
  EXPECT_EQ(error_of([&] { network(r, w); }),
            "lpips: lin1.model.1.weight must be f32(1,192,1,1) for alex, got bf16(1,192,1,1)");
  w = right;
  w["net.slice1.0.weight"] = weights(r, {kVgg[0]})["net.slice1.0.weight"];
  EXPECT_EQ(error_of([&] { network(r, w); }), "lpips: there is no tensor net.slice1.2.weight");

  const Lpips lpips = network(r, right);
  Tape tape(r, {.gradients = false});
  const auto refused = [&](const Sizes& a, const Sizes& b, const char* part) {
    return holds(error_of([&] { lpips.distance(tape, r.zeros(DType::f32, a), r.zeros(DType::f32, b)); }), part);
  };
  EXPECT_TRUE(refused({1, 40, 30, 3}, {1, 40, 30, 3}, "at least 31 x 31 pixels for alex, got f32(1,40,30,3)"));
  EXPECT_TRUE(refused({1, 40, 40, 4}, {1, 40, 40, 4}, "f32(N,H,W,3)"));
  EXPECT_TRUE(refused({1, 40, 40, 3}, {2, 40, 40, 3}, "one shape is needed"));
}

}  // namespace
}  // namespace dr::test
