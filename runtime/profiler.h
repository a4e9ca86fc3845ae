#pragma once
// Time, FLOPs and bytes of every op call: a roofline table and a Chrome trace (open it in Perfetto). With CUDA built
// in, calls are NVTX ranges too. The device is synchronised around each call, so a profiled run is slower than a plain
// one.

#include <chrono>
#include <string>
#include <vector>

#include "kernels/core/op.h"

namespace dr {

class Profiler {
 public:
  struct Event {
    uint32_t row;
    double start_us, duration_us;
    std::string detail;  // shapes
    Cost cost;
  };
  struct Row {
    std::string name;  // op and phase
    int64_t calls = 0;
    double us = 0, flops = 0, bytes = 0;
    // The share of the roofline reached: the time that the peaks allow over the time taken.
    double fraction_of_peak(const Peaks& peaks) const;
  };

  void begin(const std::string& name, std::string detail);
  void end(const Cost& cost);

  const std::vector<Row>& rows() const { return rows_; }  // in order of first call
  // Slowest first: op, calls, ms, TFLOP/s, GB/s, % of peak (an unknown peak prints "-").
  std::string table(const Peaks& peaks = {}) const;
  std::string chrome_trace() const;                       // JSON

 private:
  using Clock = std::chrono::steady_clock;
  double now_us() const { return std::chrono::duration<double, std::micro>(Clock::now() - origin_).count(); }

  Clock::time_point origin_ = Clock::now();
  std::vector<Row> rows_;
  std::vector<Event> events_;
};

}  // namespace dr
