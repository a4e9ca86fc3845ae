#include "runtime/hash.h"

#include <bit>
#include <mutex>
#include <vector>

#include "runtime/tensor.h"

namespace dr {
namespace {

constexpr int64_t kElementsPerPiece = 65536;  // of parallel work: some ten microseconds

struct Run {
  int64_t offset, first, n;  // where its elements lie, the logical index of the first, how many
};

}  // namespace

TensorHash hash_of(const Context& ctx, Device& device, const View& v) {
  if (!v.present() || v.count() == 0) return {};
  View host = v;
  std::vector<char> copy;
  if (!device.host_visible()) {  // the memory from the first to the last element, gaps and all
    int64_t last = 0;
    for (int i = 0; i < v.rank(); i++) last += (v.size(i) - 1) * v.stride(i);
    copy.resize(size_t(last + 1) * size_of(v.dtype));
    device.copy_out(copy.data(), v.data, copy.size());
    host.data = copy.data();
  }
  std::vector<Run> runs;
  int64_t first = 0;
  for_runs(host, [&](int64_t offset, int64_t n) {
    for (int64_t begin = 0; begin < n; begin += kElementsPerPiece) {
      const int64_t piece = n - begin < kElementsPerPiece ? n - begin : kElementsPerPiece;
      runs.push_back({offset + begin, first, piece});
      first += piece;
    }
  });
  const Backend backend = is_cpu(ctx.backend) ? ctx.backend : best_cpu_backend();
  const size_t width = size_of(v.dtype);
  TensorHash total;
  std::mutex mutex;
  ctx.parallel(int64_t(runs.size()), kElementsPerPiece / runs[0].n, [&](int64_t begin, int64_t end) {
    TensorHash sum;
    for (int64_t i = begin; i < end; i++) {
      const Run& r = runs[size_t(i)];
      sum += hash_run(backend, static_cast<const char*>(host.data) + r.offset * int64_t(width), v.dtype, r.first, r.n);
    }
    std::lock_guard lock(mutex);
    total += sum;
  });
  return total;
}

std::string to_hex(uint64_t high, uint64_t low) { return format("{:016x}{:016x}", high, low); }

int64_t locate(const TensorHash& a, const TensorHash& b, int64_t count) {
  const uint64_t d0 = a.s0 - b.s0, d1 = a.s1 - b.s1;
  if (d0 == 0 || count <= 0) return -1;
  const int t = std::countr_zero(d0);
  const uint64_t mask = t ? ~uint64_t{0} >> t : ~uint64_t{0};  // the quotient is known modulo mask + 1
  if (uint64_t(count) > mask || (d1 & ((uint64_t{1} << t) - 1)) != 0) return -1;
  const uint64_t odd = d0 >> t;
  uint64_t inverse = odd;  // right in 3 bits; Newton's step doubles them
  for (int i = 0; i < 5; i++) inverse *= 2 - odd * inverse;
  const uint64_t position = (d1 >> t) * inverse & mask;  // i + 1
  const bool confirmed = a.s2 - b.s2 == position * position * d0;
  return confirmed && position >= 1 && position <= uint64_t(count) ? int64_t(position) - 1 : -1;
}

}  // namespace dr
