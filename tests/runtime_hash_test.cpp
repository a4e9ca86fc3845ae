// The hash of a tensor and the locator, against the definition written out.

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "kernels/core/backends.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

// The definition of kernels/core/hash.h, element by element.
TensorHash by_definition(const std::vector<uint64_t>& bits) {
  const auto step = [](uint64_t z, uint64_t c) { return (z & 0xffffffffu) * c + (z >> 32); };
  const auto fold = [](uint64_t z) { return z ^ (z >> 32); };
  TensorHash h;
  unsigned __int128 sum = 0;
  for (uint64_t i = 0; i < bits.size(); i++) {
    const uint64_t g = step(fold(step(bits[i], 0xf1357aebu)), 0xfd2b4d73u);
    const uint64_t w = fold(step(g ^ ((i + 1) * 0x9e3779b97f4a7c15u), 0xe4a3c6c5u));
    sum += static_cast<unsigned __int128>(step(w, 0xf84d6b2fu)) << 64 | w >> 8;
    h.s0 += g;
    h.s1 += (i + 1) * g;
    h.s2 += (i + 1) * (i + 1) * g;
  }
  h.low = uint64_t(sum);
  h.high = uint64_t(sum >> 64);
  return h;
}

template <class T>
std::vector<T> random_bits_of(int64_t n, uint32_t id) {
  std::vector<T> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) {
    const PhiloxWords w = random_block({3, 0, id}, uint64_t(i));
    const uint64_t word = w.x[0] | uint64_t{w.x[1]} << 32;
    std::memcpy(&v[size_t(i)], &word, sizeof(T));
  }
  return v;
}
template <class T>
std::vector<uint64_t> widened(const std::vector<T>& v, uint64_t infinity, uint64_t nan) {
  std::vector<uint64_t> list;
  for (const T& e : v) {
    uint64_t b = 0;
    std::memcpy(&b, &e, sizeof e);
    const uint64_t sign = uint64_t{1} << (8 * sizeof(T) - 1);
    list.push_back(infinity && (b & ~sign) > infinity ? nan : b);
  }
  return list;
}

TEST(Hash, FollowsTheDefinitionOnEveryBackendAndThread) {
  std::vector<std::unique_ptr<Runtime>> runtimes;
  for (Backend b : cpu_backends())
    for (int threads : {1, 3})
      runtimes.push_back(
          std::make_unique<Runtime>(RuntimeOptions{.cpu_isa = std::string(name_of(b)), .threads = threads}));
  for (int64_t n : {0, 1, 5, 31, 33, 1000, 2047, 2049, 200001}) {
    const auto check = [&]<class T>(T, uint64_t infinity, uint64_t nan) {
      const std::vector<T> v = random_bits_of<T>(n, uint32_t(n) + uint32_t(sizeof(T)));
      const TensorHash expected = by_definition(widened(v, infinity, nan));
      for (auto& r : runtimes)
        EXPECT_TRUE(r->hash(r->from(v, {n})) == expected)
            << name_of(dtype_of<T>) << " " << n << " " << r->device().name();
    };
    check(float{}, 0x7f800000u, 0x7fc00000u);
    check(bf16{}, 0x7f80u, 0x7fc0u);
    check(double{}, 0x7ff0000000000000u, 0x7ff8000000000000u);
    check(int32_t{}, 0, 0);
    check(uint32_t{}, 0, 0);
    check(int64_t{}, 0, 0);
    check(uint8_t{}, 0, 0);
  }
}

TEST(Hash, TreatsEveryNaNAlikeAndNothingElse) {
  Runtime r({.threads = 1});
  const auto hash = [&](uint32_t bits) {
    std::vector<float> v(40, 1.f);
    v[7] = v[39] = std::bit_cast<float>(bits);  // in a vector, and in the last few
    return r.hash(r.from(v, {40}));
  };
  for (uint32_t nan : {0x7f800001u, 0xffc00000u, 0x7fffffffu, 0xff812345u})
    EXPECT_TRUE(hash(nan) == hash(0x7fc00000u)) << nan;
  EXPECT_FALSE(hash(0x7f800000u) == hash(0x7fc00000u));
  EXPECT_FALSE(hash(0x7f800000u) == hash(0xff800000u));
  EXPECT_FALSE(hash(0x00000000u) == hash(0x80000000u));
}

TEST(Hash, DependsOnOrderAndNotOnStrides) {
  Runtime r({.threads = 2});
  const std::vector<float> v = numbers(600, 1);
  const Tensor t = r.from(v, {10, 6, 10});
  EXPECT_TRUE(r.hash(t.slice(1, 2, 3)) == r.hash(t.slice(1, 2, 3).clone()));
  EXPECT_TRUE(r.hash(t.transpose(0, 1)) == r.hash(t.transpose(0, 1).clone()));
  EXPECT_TRUE(r.hash(t.slice(2, 9, 1)) == r.hash(t.slice(2, 9, 1).clone()));
  EXPECT_FALSE(r.hash(t.transpose(0, 1)) == r.hash(t));
  for (size_t i = 0; i + 1 < v.size(); i += 37) {
    std::vector<float> swapped = v;
    std::swap(swapped[i], swapped[(i * 7 + 1) % v.size()]);
    const TensorHash a = r.hash(r.from(swapped, {600})), b = r.hash(t);
    EXPECT_FALSE(a.low == b.low && a.high == b.high) << i;
  }
}

// Signs flipped and last bits changed at regular distances: sums of weak mixes would meet.
TEST(Hash, StructuredChangesDoNotCollide) {
  Runtime r({.threads = 1});
  for (float fill : {0.f, 1.f}) {
    std::set<std::pair<uint64_t, uint64_t>> seen;
    size_t variants = 0;
    std::vector<float> v(256, fill);
    const Tensor t = r.from(v, {256});
    const TensorHash before = r.hash(t);
    for (uint32_t mask : {0x80000000u, 1u, 0x00800000u})
      for (int distance : {1, 2, 16, 64})
        for (int start = 0; start < 64; start++)
          for (int count : {1, 2, 3}) {
            if (count == 1 && distance > 1) continue;
            std::vector<float> changed = v;
            for (int k = 0; k < count; k++) {
              float& e = changed[size_t(start + k * distance)];
              e = std::bit_cast<float>(std::bit_cast<uint32_t>(e) ^ mask);
            }
            t.copy_from(std::span<const float>(changed));
            const TensorHash h = r.hash(t);
            seen.insert({h.high, 0}), seen.insert({h.low, 1});
            EXPECT_EQ(locate(before, h, 256), count == 1 ? start : -1)
                << count << " elements from " << start << ", " << distance << " apart";
            variants++;
          }
    EXPECT_EQ(seen.size(), 2 * variants);
  }
}

TEST(Locator, NamesTheOneElementThatDiffers) {
  Runtime r({.threads = 1});
  const auto check = [&]<class T>(T, std::initializer_list<int64_t> counts) {
    for (int64_t n : counts) {
      std::vector<T> v = random_bits_of<T>(n, uint32_t(n));
      if constexpr (std::is_same_v<T, float>) v = numbers(n, 5);  // no NaN, whose bits do not count
      const Tensor t = r.from(v, {n});
      const TensorHash before = r.hash(t);
      for (uint32_t trial = 0; trial < 200; trial++) {
        const uint32_t where = random_bits({4, 0, uint32_t(sizeof(T))}, trial * 2),
                       bit = random_bits({4, 0, 9}, trial) % (8 * sizeof(T));
        const size_t i = trial == 0 ? 0 : trial == 1 ? size_t(n - 1) : where % size_t(n);
        std::vector<T> changed = v;
        reinterpret_cast<unsigned char*>(&changed[i])[bit / 8] ^= static_cast<unsigned char>(1u << (bit % 8));
        t.copy_from(std::span<const T>(changed));
        const TensorHash after = r.hash(t);
        EXPECT_FALSE(after.low == before.low && after.high == before.high);
        EXPECT_EQ(locate(before, after, n), int64_t(i)) << n << " bit " << bit;
        EXPECT_EQ(locate(after, before, n), int64_t(i));
      }
    }
  };
  check(float{}, {1, 2, 33, 5000, 100003});
  check(uint8_t{}, {1, 40, 3001});
  check(int64_t{}, {7, 3001});
}

TEST(Locator, DoesNotNameOneWhereSeveralDiffer) {
  Runtime r({.threads = 1});
  for (int64_t n : {16, 5000}) {
    const std::vector<float> v = numbers(n, 6);
    const Tensor t = r.from(v, {n});
    const TensorHash before = r.hash(t);
    for (uint32_t trial = 0; trial < 3000; trial++) {
      const auto pick = [&](uint32_t k, uint64_t range) { return size_t(random_bits({5, 0, k}, trial) % range); };
      std::vector<float> changed = v;
      const uint32_t mask = 1u << pick(2, 32);  // the same bit of both, as a systematic error would
      const size_t i = pick(0, uint64_t(n)), j = (i + 1 + pick(1, uint64_t(n) - 1)) % size_t(n);
      for (size_t k : {i, j}) changed[k] = std::bit_cast<float>(std::bit_cast<uint32_t>(changed[k]) ^ mask);
      t.copy_from(std::span<const float>(changed));
      EXPECT_EQ(locate(before, r.hash(t), n), -1) << i << " " << j;
    }
  }
}

TEST(Locator, SaysSoWhenTheQuotientIsNotOneIndex) {
  TensorHash a, b;
  EXPECT_EQ(locate(a, b, 100), -1) << "nothing differs";
  a.s0 = uint64_t{1} << 60;  // the quotient is known modulo 16: element 4, 20, 36, ...
  a.s1 = 5 * a.s0;
  a.s2 = 25 * a.s0;
  EXPECT_EQ(locate(a, b, 15), 4);
  EXPECT_EQ(locate(a, b, 16), -1);
  EXPECT_EQ(locate(a, b, 100), -1);
  a.s1 += 1;  // no multiple
  EXPECT_EQ(locate(a, b, 15), -1);
  a = {.low = 0, .high = 0, .s0 = 3, .s1 = 3 * 8, .s2 = 3 * 64};
  EXPECT_EQ(locate(a, b, 8), 7);
  EXPECT_EQ(locate(a, b, 7), -1) << "behind the last element";
}

}  // namespace
}  // namespace dr::test
