// The ledger: what is recorded, the first difference, damaged files. And the profiler.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/add/add.h"
#include "tests/runtime_test_ops.h"

namespace dr::test {
namespace {

// y = x + 1, and one bit of y or of dx is wrong if asked for: a fault as a device would make it.
struct Flaky {
  static constexpr std::string_view name = "flaky";
  int64_t wrong_output = -1, wrong_gradient = -1;
  uint32_t mask = 0;
  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const { return {{DType::f32, in.x.sizes}}; }
  size_t scratch_bytes(const In&, int) const { return 0; }
  void flip(const View& v, int64_t i) const {
    if (i >= 0) v.as<uint32_t>()[i] ^= mask;
  }
  template <Backend B>
  void forward(Context&, const In& in, const Out& out) const {
    for (int64_t i = 0; i < in.x.count(); i++) out.y.as<float>()[i] = in.x.as<float>()[i] + 1;
    View y = out.y;
    y.dtype = DType::u32;
    flip(y, wrong_output);
  }
  template <Backend B>
  void backward(Context&, const In&, const Out&, const OutGrad& dy, const Grad& grad) const {
    for (int64_t i = 0; i < dy.y.count(); i++) grad.x.as<float>()[i] = dy.y.as<float>()[i];
    View dx = grad.x;
    dx.dtype = DType::u32;
    flip(dx, wrong_gradient);
  }
  void reference(const In&, const Out&, const Out&) const {}
  double gradient_k(const In&) const { return 1; }
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(0, in, infer(in)); }
  static std::vector<Case<Flaky>> cases() { return {}; }
};

struct Fault {
  int64_t step = -1, op = 0, element = 0;
  bool backward = false;
  uint32_t mask = 0;
};

class LedgerFile {
 public:
  explicit LedgerFile(std::string name)
      : path_(testing::TempDir() + "ledger_" + std::to_string(getpid()) + "_" + name) {}
  ~LedgerFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  std::string bytes() const {
    std::ifstream f(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(f), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

 private:
  std::string path_;
};

constexpr int64_t kOps = 5, kElements = 300, kSteps = 3;

// Three steps of five calls forward and five backward.
void run_steps(const std::string& path, const Fault& fault, int threads = 1, bool checkpoint = false,
               int64_t steps = kSteps) {
  Runtime r({.threads = threads});
  r.ledger = std::make_unique<LedgerWriter>(path);
  for (int64_t step = 0; step < steps; step++) {
    const Tensor x = random(r, {kElements}, uint32_t(step));
    r.ledger->begin_step(step);
    Tape tape(r);
    tape.watch(x);
    const auto block = [=](Tape& t) {
      Tensor h = x;
      for (int64_t i = 0; i < kOps; i++) {
        Flaky op;
        if (step == fault.step && i == fault.op) {
          op.mask = fault.mask;
          (fault.backward ? op.wrong_gradient : op.wrong_output) = fault.element;
        }
        h = t.apply(op, h);
      }
      return h;
    };
    const Tensor y = checkpoint ? tape.checkpoint(block) : block(tape);
    tape.backward(y, x);
    (void)r.ledger->end_step();
  }
  r.ledger->close();
}

TEST(LedgerTest, RunsThatShouldBeEqualAre) {
  LedgerFile a("a"), b("b"), c("c");
  run_steps(a.path(), {});
  run_steps(b.path(), {}, 2);
  run_steps(c.path(), {}, 1, true);
  const Ledger first = read_ledger(a.path());
  EXPECT_TRUE(diff(first, read_ledger(b.path())).identical);
  EXPECT_TRUE(diff(first, read_ledger(c.path())).identical) << "a ledger does not depend on checkpoints";
  ASSERT_EQ(first.size(), size_t{kSteps});
  ASSERT_EQ(first[1].calls.size(), size_t{2 * kOps});
  const LedgerCall& forward = first[1].calls[0];
  EXPECT_EQ(forward.op, "flaky");
  ASSERT_EQ(forward.tensors.size(), 2u);
  EXPECT_EQ(forward.tensors[0].name, "x");
  EXPECT_EQ(forward.tensors[1].role, Role::output);
  EXPECT_EQ(forward.tensors[1].sizes, (Sizes{kElements}));
  EXPECT_TRUE(forward.tensors[1].hash == first[1].calls[1].tensors[0].hash) << "an output is the next op's input";
  EXPECT_TRUE(first[1].calls[size_t{kOps}].backward);
  EXPECT_EQ(a.bytes(), b.bytes());
}

TEST(LedgerTest, NamesTheElementOfOneFlippedBit) {
  LedgerFile good("good"), bad("bad");
  run_steps(good.path(), {});
  const Ledger expected = read_ledger(good.path());
  for (uint32_t trial = 0; trial < 60; trial++) {
    const auto pick = [&](uint32_t k, int64_t range) { return int64_t(random_bits({6, 0, k}, trial)) % range; };
    const Fault f{pick(0, kSteps), pick(1, kOps), pick(2, kElements), pick(3, 2) == 1, 1u << pick(4, 32)};
    run_steps(bad.path(), f);
    const LedgerDiff d = diff(expected, read_ledger(bad.path()));
    EXPECT_FALSE(d.identical);
    EXPECT_EQ(d.step, f.step);
    EXPECT_EQ(d.op, "flaky");
    EXPECT_EQ(d.call, f.backward ? 2 * kOps - 1 - f.op : f.op) << d.what;
    EXPECT_EQ(d.tensor, f.backward ? "dx" : "y");
    EXPECT_EQ(d.element, f.element) << d.what;
  }
}

TEST(LedgerTest, ReportsOtherDifferences) {
  LedgerFile a("a"), b("b");
  run_steps(a.path(), {});
  run_steps(b.path(), {}, 1, false, kSteps - 1);
  const Ledger whole = read_ledger(a.path());
  LedgerDiff d = diff(whole, read_ledger(b.path()));
  EXPECT_EQ(d.step, kSteps - 1);
  EXPECT_NE(d.what.find("the second ledger ends before step 2"), std::string::npos) << d.what;
  const auto changed = [&](auto&& change) {
    Ledger other = whole;
    change(other[1]);
    other[1].root_low++;
    return diff(whole, other);
  };
  d = changed([](LedgerStep& s) { s.calls[3].op = "gelu"; });
  EXPECT_EQ(d.call, 3);
  EXPECT_EQ(d.what, "step 1, call 3: flaky in the first ledger, gelu in the second");
  d = changed([](LedgerStep& s) { s.calls.pop_back(); });
  EXPECT_EQ(d.what, "step 1: 10 calls in the first ledger, 9 in the second");
  d = changed([](LedgerStep& s) { s.calls[2].tensors[1].sizes = {3, 100}; });
  EXPECT_EQ(d.what, "step 1, call 2 (flaky), tensor y: f32(300) in the first ledger, f32(3,100) in the second");
  d = changed([](LedgerStep& s) { s.calls[7].tensors[1].hash.s0 ^= 0x1234567, s.calls[7].tensors[1].hash.low++; });
  EXPECT_EQ(d.element, -1);
  EXPECT_EQ(d.what, "step 1, call 7 (flaky backward), tensor dx: several elements of (300) differ");
}

TEST(LedgerTest, RefusesADamagedFile) {
  LedgerFile file("damaged");
  run_steps(file.path(), {}, 1, false, 1);
  const std::string good = file.bytes();
  const auto refused = [](const std::string& bytes) {
    return refuses([&] { (void)parse_ledger(bytes, "run.ledger"); }, "run.ledger: ");
  };
  for (size_t i = 0; i < good.size(); i++)
    for (int bit = 0; bit < 8; bit++) {
      std::string bad = good;
      bad[i] = char(bad[i] ^ 1 << bit);
      EXPECT_TRUE(refused(bad)) << "bit " << bit << " of byte " << i;
    }
  for (size_t n = 0; n < good.size(); n++) EXPECT_TRUE(refused(good.substr(0, n))) << "cut to " << n;
  EXPECT_TRUE(refused(good + "x"));
  EXPECT_FALSE(refused(good));
  file.write(good.substr(0, good.size() / 2));
  EXPECT_TRUE(refuses([&] { (void)read_ledger(file.path()); }, "damaged or cut short"));
  EXPECT_TRUE(refuses([] { (void)read_ledger("/nowhere/at all"); }, "/nowhere/at all"));
}

TEST(LedgerTest, LeavesNothingBehindWhenItIsNotClosed) {
  LedgerFile file("open");
  {
    LedgerWriter w(file.path());
    w.begin_step(0);
    w.add({"op", false, {}});
  }
  EXPECT_FALSE(std::filesystem::exists(file.path()));
  for (const auto& entry : std::filesystem::directory_iterator(testing::TempDir()))
    EXPECT_EQ(entry.path().string().find(file.path()), std::string::npos) << entry.path();
  LedgerWriter w(file.path());
  EXPECT_TRUE(refuses([&] { w.add({"op", false, {}}); }, "outside any step"));
  w.begin_step(4);
  EXPECT_TRUE(refuses([&] { w.close(); }, "closed inside step 4"));
  EXPECT_TRUE(refuses([] { LedgerWriter("/nowhere/at all"); }, "cannot be created"));
}

TEST(ProfilerTest, CountsCallsAndWritesATrace) {
  Runtime r({.threads = 1});
  r.profiler.emplace();
  const Tensor x = random(r, {100, 50}, 1), w = random(r, {50}, 2);
  Tape tape(r);
  tape.watch(w);
  const Tensor y = tape.checkpoint([=](Tape& t) { return t.apply(Gain{}, t.apply(Gain{}, x, w), w); });
  tape.backward(y, x);
  const auto row = [&](std::string_view name) {
    for (const Profiler::Row& p : r.profiler->rows())
      if (p.name == name) return p;
    return Profiler::Row{};
  };
  EXPECT_EQ(row("gain").calls, 2);
  EXPECT_EQ(row("gain (again)").calls, 2);
  EXPECT_EQ(row("gain backward").calls, 2);
  EXPECT_EQ(row("add").calls, 1) << "w is used twice";
  EXPECT_EQ(row("gain").flops, 2 * 5000.0);
  EXPECT_EQ(row("gain").bytes, 2 * 4.0 * (5000 + 50 + 5000));
  EXPECT_GT(row("gain").us, 0);

  const std::string unknown = r.profiler->table(), known = r.profiler->table({.tflops = 1e-3, .gbps = 1});
  EXPECT_NE(unknown.find("% of peak"), std::string::npos);
  EXPECT_EQ(unknown.substr(unknown.find("gain backward")).find(" -\n") < unknown.size(), true) << unknown;
  EXPECT_EQ(known.find(" -\n"), std::string::npos) << known;
  const Profiler::Row g = row("gain");
  EXPECT_DOUBLE_EQ(g.fraction_of_peak({.tflops = 1e-3, .gbps = 1}),
                   std::max(g.flops / 1e9, g.bytes / 1e9) / (g.us * 1e-6));
  EXPECT_EQ(g.fraction_of_peak({}), 0);

  const auto trace = nlohmann::json::parse(r.profiler->chrome_trace());
  ASSERT_EQ(trace["traceEvents"].size(), 7u);
  double end = 0;
  for (const auto& e : trace["traceEvents"]) {
    EXPECT_EQ(e["ph"], "X");
    EXPECT_GE(e["ts"].get<double>(), end - 0.002) << "one stream: calls do not overlap";
    end = e["ts"].get<double>() + e["dur"].get<double>();
  }
  EXPECT_EQ(trace["traceEvents"][0]["args"]["tensors"], "x f32(100,50) w f32(50)");
  Profiler odd;
  odd.begin("a \"name\"\n", "\\");
  odd.end({});
  EXPECT_EQ(nlohmann::json::parse(odd.chrome_trace())["traceEvents"][0]["name"], "a \"name\"\n");
}

}  // namespace
}  // namespace dr::test
