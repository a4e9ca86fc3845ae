#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/core/column_sums.h"

namespace dr {
namespace DR_ISA {
namespace {

// The numbers of a call, each checked against the table.
const int32_t* checked_ids(const Embedding::In& in) {
  const int32_t* ids = in.ids.as<int32_t>();
  const int64_t rows = in.table.size(0);
  for (int64_t i = 0; i < in.ids.count(); i++)
    CHECK(ids[i] >= 0 && ids[i] < rows, "embedding: ids[{}] (in row-major order) is {}, the table has rows 0 to {}", i,
          ids[i], rows - 1);
  return ids;
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Embedding::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int32_t* ids = checked_ids(in);
  const size_t row = size_t(in.table.size(1)) * size_of(in.table.dtype);
  const char* table = static_cast<const char*>(in.table.data);
  char* y = static_cast<char*>(out.y.data);
  ctx.parallel(in.ids.count(), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) std::memcpy(y + size_t(i) * row, table + size_t(ids[i]) * row, row);
  });
}

template <>
void Embedding::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.table) return;
  const int32_t* ids = checked_ids(in);
  const int64_t rows = in.table.size(0), cols = in.table.size(1), places = in.ids.count() / ctx.leaves;
  CHECK(places * ctx.leaves == in.ids.count() && dy.y.packed(),
        "embedding: {} ids do not divide into {} leaves, or dy is not packed", in.ids.count(), ctx.leaves);
  int32_t* const begins = ctx.scratch_as<int32_t>(size_t(rows + 1 + places));
  int32_t* const sorted = begins + rows + 1;
  const int64_t strips = (cols + kStripColumns - 1) / kStripColumns;
  for (int64_t leaf = 0; leaf < ctx.leaves; leaf++) {
    const int32_t* own = ids + leaf * places;
    std::fill_n(begins, rows + 1, 0);
    for (int64_t i = 0; i < places; i++) begins[own[i] + 1]++;
    for (int64_t v = 0; v < rows; v++) begins[v + 1] += begins[v];
    for (int64_t i = 0; i < places; i++)
      sorted[begins[own[i]]++] = int32_t(i);  // now begins[v] is where v's places end
    with_float_type(dy.y.dtype, [&]<class T>(T*) {
      const T* d = static_cast<const T*>(dy.y.data) + leaf * places * cols;
      float* to = grad.table.as<float>() + leaf * rows * cols;
      ctx.parallel(rows * strips, 1, [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; unit++) {
          const int64_t v = unit / strips, first = unit % strips * kStripColumns;
          const int64_t from = v ? begins[v - 1] : 0, until = begins[v];
          for_vectors(std::min(kStripColumns, cols - first), [&](int64_t c, auto n) {
            f32v total{};
            for (int64_t chunk = from; chunk < until; chunk += kChainChunk) {
              f32v sum{};
              for (int64_t i = chunk; i < std::min(chunk + kChainChunk, until); i++)
                sum += load_n(d + int64_t{sorted[i]} * cols + first + c, n);
              total = chunk == from ? sum : total + sum;
            }
            store_n(to + v * cols + first + c, total, n);
          });
        }
      });
    });
  }
}

}  // namespace dr
