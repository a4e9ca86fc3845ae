#pragma once
// The rows of a gated recurrent unit, for GruCell and BlockGru: TG is the type of the gates, T that of the state.
// Last include of a `_cpu.cpp`.

#include "kernels/gru_cell/gru_cell.h"

#include "kernels/core/strided_runs.h"
#include "kernels/gru_cell/gru_math.h"

namespace dr::DR_ISA {

// f(row of (R,G)) in parallel, a row being one block's H elements.
template <class F>
void for_gru_rows(const Context& ctx, const View& h, F&& f) {
  constexpr int64_t kPiece = 2048;  // elements of parallel work: three elementary functions each
  ctx.parallel(h.size(0) * h.size(1), std::max<int64_t>(1, kPiece / std::max<int64_t>(h.size(2), 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; row++) f(row);
               });
}

template <class TG, class T>
void gru_forward(const Context& ctx, const View& h_view, const View& gates_view, const View& out) {
  const int64_t width = h_view.size(2);
  const BlockOffsets h_at(h_view, 2), gates_at(gates_view, 2);
  for_gru_rows(ctx, h_view, [&](int64_t row) {
    const T* h = static_cast<const T*>(h_view.data) + h_at(row);
    const TG* gates = static_cast<const TG*>(gates_view.data) + gates_at(row);
    T* to = static_cast<T*>(out.data) + row * width;
    for_vectors(width, [&](int64_t i, auto n) {
      const GruGates g(load_n(gates + i, n), load_n(gates + width + i, n), load_n(gates + 2 * width + i, n));
      store_n(to + i, g.next(load_n(h + i, n)), n);
    });
  });
}

// dh or dgates may be absent; dgates holds TD, which need not be TG.
template <class TG, class T, class TD>
void gru_backward(const Context& ctx, const View& h_view, const View& gates_view, const View& dout, const View& dh_view,
                  const View& dgates_view) {
  const int64_t width = h_view.size(2);
  const BlockOffsets h_at(h_view, 2), gates_at(gates_view, 2), dout_at(dout, 2);
  for_gru_rows(ctx, h_view, [&](int64_t row) {
    const T *h = static_cast<const T*>(h_view.data) + h_at(row), *d = static_cast<const T*>(dout.data) + dout_at(row);
    const TG* gates = static_cast<const TG*>(gates_view.data) + gates_at(row);
    T* dh = dh_view ? static_cast<T*>(dh_view.data) + row * width : nullptr;
    TD* dgates = dgates_view ? static_cast<TD*>(dgates_view.data) + row * 3 * width : nullptr;
    for_vectors(width, [&](int64_t i, auto n) {
      const f32v candidate = load_n(gates + width + i, n);
      const GruGates g(load_n(gates + i, n), candidate, load_n(gates + 2 * width + i, n));
      const GruGradients grad(g, candidate, load_n(h + i, n), load_n(d + i, n));
      if (dh) store_n(dh + i, grad.h, n);
      if (!dgates) return;
      store_n(dgates + i, grad.reset, n);
      store_n(dgates + width + i, grad.candidate, n);
      store_n(dgates + 2 * width + i, grad.update, n);
    });
  });
}

}  // namespace dr::DR_ISA
