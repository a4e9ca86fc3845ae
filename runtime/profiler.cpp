#include "runtime/profiler.h"

#include <algorithm>

#ifdef DR_WITH_cuda
#include <nvtx3/nvToolsExt.h>
#endif

namespace dr {
namespace {

std::string quoted(std::string_view text) {
  std::string s = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') s += '\\', s += c;
    else if (static_cast<unsigned char>(c) < 0x20) s += format("\\u{:04x}", int(c));
    else s += c;
  }
  return s + '"';
}

std::string per_second(double amount, double us, double unit) {
  return amount > 0 && us > 0 ? format("{:.3f}", amount / (us * 1e-6) / unit) : "-";
}

}  // namespace

void Profiler::begin(const std::string& name, std::string detail) {
#ifdef DR_WITH_cuda
  nvtxRangePushA((name + " " + detail).c_str());
#endif
  auto it = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.name == name; });
  if (it == rows_.end()) it = rows_.insert(it, Row{name});
  events_.push_back({uint32_t(it - rows_.begin()), now_us(), 0, std::move(detail), {}});
}

void Profiler::end(const Cost& cost) {
  Event& e = events_.back();
  e.duration_us = now_us() - e.start_us;
  e.cost = cost;
  Row& row = rows_[e.row];
  row.calls++;
  row.us += e.duration_us;
  row.flops += cost.flops;
  row.bytes += cost.bytes_read + cost.bytes_written;
#ifdef DR_WITH_cuda
  nvtxRangePop();
#endif
}

double Profiler::Row::fraction_of_peak(const Peaks& peaks) const {
  if (peaks.tflops <= 0 || peaks.gbps <= 0 || us <= 0) return 0;
  return std::max(flops / (peaks.tflops * 1e12), bytes / (peaks.gbps * 1e9)) / (us * 1e-6);
}

std::string Profiler::table(const Peaks& peaks) const {
  std::vector<const Row*> order;
  double total = 0;
  for (const Row& r : rows_) order.push_back(&r), total += r.us;
  std::stable_sort(order.begin(), order.end(), [](const Row* a, const Row* b) { return a->us > b->us; });
  const bool known = peaks.tflops > 0 && peaks.gbps > 0;
  std::string s = format("{:<32} {:>8} {:>10} {:>7} {:>10} {:>10} {:>9}\n", "op", "calls", "ms", "share", "TFLOP/s",
                         "GB/s", "% of peak");
  for (const Row* r : order)
    s += format("{:<32} {:>8} {:>10.3f} {:>6.1f}% {:>10} {:>10} {:>9}\n", r->name, r->calls, r->us * 1e-3,
                total > 0 ? 100 * r->us / total : 0, per_second(r->flops, r->us, 1e12),
                per_second(r->bytes, r->us, 1e9), known ? format("{:.1f}", 100 * r->fraction_of_peak(peaks)) : "-");
  return s;
}

std::string Profiler::chrome_trace() const {
  std::string s = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  for (size_t i = 0; i < events_.size(); i++) {
    const Event& e = events_[i];
    s += format(
        "{}\n{{\"name\":{},\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":{:.3f},\"dur\":{:.3f},\"args\":{{\"tensors\":{},"
        "\"flops\":{:.0f},\"bytes\":{:.0f}}}}}",
        i ? "," : "", quoted(rows_[e.row].name), e.start_us, e.duration_us, quoted(e.detail), e.cost.flops,
        e.cost.bytes_read + e.cost.bytes_written);
  }
  return s + "\n]}\n";
}

}  // namespace dr
