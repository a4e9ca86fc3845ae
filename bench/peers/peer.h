#pragma once
// What every peer in C++ shares: requests, data, timing, JSON.
//
// A peer is a small program. A request is a list of words, `gemm m=1920 n=768 k=768 layout=nt threads=2 seconds=0.3`,
// given as arguments (answer one, exit) or, with the single argument `-`, one per line on standard input (answer
// each, until it closes): compare.py keeps peers running so that they can be timed in turns with dreamroad. An answer
// is one line of JSON:
//   {"peer": "openblas", "version": "...", "form": "", "threads": 2, "samples": 41,
//    "median_us": .., "p10_us": .., "p90_us": .., "flops": .., "bytes": ..}
// or {"error": "..."}. Fields common to all requests: threads, seconds (time to spend), sets (of operands, see Arena).

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace peer {

struct Request {
  std::string op;
  std::map<std::string, std::string> fields;

  static Request parse(const std::vector<std::string>& words) {
    if (words.empty()) throw std::runtime_error("an empty request");
    Request r{words[0], {}};
    for (size_t i = 1; i < words.size(); i++) {
      size_t eq = words[i].find('=');
      if (eq == std::string::npos) throw std::runtime_error("'" + words[i] + "' is not of the form name=value");
      r.fields[words[i].substr(0, eq)] = words[i].substr(eq + 1);
    }
    return r;
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    auto it = fields.find(name);
    return it == fields.end() ? otherwise : it->second;
  }
  int64_t integer(const std::string& name, int64_t otherwise = -1) const {
    int64_t v = std::stoll(text(name, std::to_string(otherwise)));
    if (v < 0) throw std::runtime_error(op + ": " + name + " is missing or negative");
    return v;
  }
  double seconds() const { return std::stod(text("seconds", "0.5")); }
  int threads() const { return int(integer("threads", 1)); }
  int64_t sets() const { return std::max<int64_t>(1, integer("sets", 1)); }
};

// Page-aligned floats, touched before use. Inputs are standard normals that nobody overwrites, so a buffer serves
// every request that it is large enough for. Calls walk through `sets` sets of operands in turn. compare.py asks for
// as many as dreamroad's bench used for the case, so that both sides find the same share of their operands in the
// caches.
class Arena {
 public:
  explicit Arena(bool normals) : normals_(normals) {}

  float* floats(int64_t count) {
    if (count > size_) {
      data_.reset();
      size_ = (count + 1023) / 1024 * 1024;
      data_.reset(static_cast<float*>(std::aligned_alloc(4096, size_t(size_) * 4)));
      if (!data_) throw std::runtime_error("out of memory");
      fill();
    }
    return data_.get();
  }

 private:
  // 2^22 normals by Box-Muller, then copies of them.
  void fill() {
    if (!normals_) {
      std::fill_n(data_.get(), size_, 0.0f);
      return;
    }
    int64_t fresh = std::min<int64_t>(size_, 1 << 22);
    uint64_t state = 0x9E3779B97F4A7C15u;
    auto unit = [&state] {  // splitmix64 -> (0, 1)
      uint64_t z = state += 0x9E3779B97F4A7C15u;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      return (double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
    };
    for (int64_t i = 0; i < fresh; i += 2) {
      double radius = std::sqrt(-2 * std::log(unit())), angle = 2 * M_PI * unit();
      data_.get()[i] = float(radius * std::cos(angle));
      if (i + 1 < fresh) data_.get()[i + 1] = float(radius * std::sin(angle));
    }
    for (int64_t i = fresh; i < size_; i += fresh) {
      std::copy_n(data_.get(), std::min(fresh, size_ - i), data_.get() + i);
    }
  }

  struct Free { void operator()(float* p) const { std::free(p); } };
  bool normals_;
  int64_t size_ = 0;
  std::unique_ptr<float, Free> data_;
};

inline Arena& inputs() { static Arena a(true); return a; }
inline Arena& outputs() { static Arena a(false); return a; }

struct Timing {
  std::vector<double> us;  // ascending
  double quantile(double q) const {
    double at = q * double(us.size() - 1);
    size_t i = size_t(at);
    return i + 1 < us.size() ? us[i] + (at - double(i)) * (us[i + 1] - us[i]) : us[i];
  }
};

// Calls run(set) in turn: a fifth of the time to warm up (at least two calls), then timed one by one (at least five).
inline Timing measure(const Request& r, const std::function<void(int64_t)>& run) {
  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  int64_t call = 0;
  auto start = Clock::now();
  while (call < 2 || since(start) < 0.2 * r.seconds()) run(call++ % r.sets());
  Timing t;
  start = Clock::now();
  while (t.us.size() < 5 || since(start) < r.seconds()) {
    auto before = Clock::now();
    run(call++ % r.sets());
    t.us.push_back(since(before) * 1e6);
  }
  std::sort(t.us.begin(), t.us.end());
  return t;
}

struct Answer {
  std::string peer, version, form;  // form: which of several ways to compute it
  Timing timing;
  double flops = 0, bytes = 0;
};

inline std::string json(const Request& r, const Answer& a) {
  char numbers[512];
  std::snprintf(numbers, sizeof numbers,
                R"("threads": %d, "samples": %zu, "median_us": %.3f, "p10_us": %.3f, "p90_us": %.3f, )"
                R"("flops": %.0f, "bytes": %.0f)",
                r.threads(), a.timing.us.size(), a.timing.quantile(0.5), a.timing.quantile(0.1), a.timing.quantile(0.9),
                a.flops, a.bytes);
  return R"({"peer": ")" + a.peer + R"(", "version": ")" + a.version + R"(", "form": ")" + a.form + R"(", )" +
         numbers + "}";
}

// main() of a peer.
inline int serve(int argc, char** argv, const std::function<Answer(const Request&)>& answer) {
  auto respond = [&](const std::vector<std::string>& words) {
    try {
      Request r = Request::parse(words);
      std::cout << json(r, answer(r)) << std::endl;
      return 0;
    } catch (const std::exception& e) {
      std::string message = e.what();
      auto unsafe = [](char c) { return c == '"' || c == '\\' || c < ' '; };
      std::replace_if(message.begin(), message.end(), unsafe, '\'');
      std::cout << R"({"error": ")" << message << R"("})" << std::endl;
      return 2;
    }
  };
  if (argc != 2 || std::string(argv[1]) != "-") return respond({argv + 1, argv + argc});
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string w; in >> w;) words.push_back(w);
    if (!words.empty()) respond(words);
  }
  return 0;
}

}  // namespace peer
