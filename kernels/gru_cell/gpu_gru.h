#pragma once
// The cell of a gated recurrent unit on a device, for GruCell and BlockGru, as gru_cell_kernels.h has it for the CPU:
// an element of the state a thread. Last include of a `.cu`, as gpu.h.

#include "kernels/gru_cell/gru_cell.h"
#include "kernels/gru_cell/gru_math.h"

#include "kernels/core/gpu_strided.h"

namespace dr::DR_BACKEND {

// Offsets: of the state, its reset gate, and what comes in (dout) or goes out (h').
template <class TG, class T>
struct GruForwardAt {
  const T* h;
  const TG* gates;
  T* to;
  int64_t width;
  DR_DEVICE void operator()(const StridedIndex<3>::Offsets& at) const {
    const TG* const g = gates + at[1];
    store1(to + at[2], GruGates(load1(g), load1(g + width), load1(g + 2 * width)).next(load1(h + at[0])));
  }
};
template <class TG, class T, class TD>
struct GruBackwardAt {
  const T *h, *dout;
  const TG* gates;
  T* dh;       // null: not wanted
  TD* dgates;  // null: not wanted
  int64_t width;
  DR_DEVICE void operator()(const StridedIndex<5>::Offsets& at) const {
    const TG* const g = gates + at[1];
    const float candidate = load1(g + width);
    const GruGates now(load1(g), candidate, load1(g + 2 * width));
    const GruGradients grad(now, candidate, load1(h + at[0]), load1(dout + at[2]));
    if (dh) store1(dh + at[3], grad.h);
    if (!dgates) return;
    TD* const d = dgates + at[4];
    store1(d, grad.reset), store1(d + width, grad.candidate), store1(d + 2 * width, grad.update);
  }
};

// A third of the gates (R,G,3H); of what is not there, of the state's sizes.
inline View reset_gates(const View& gates, const View& h) { return gates ? gates.slice(2, 0, h.size(2)) : h; }

template <class TG, class T>
void gru_forward(const Context& ctx, const View& h, const View& gates, const View& out) {
  const View views[] = {h, reset_gates(gates, h), out};
  for_strided(ctx, views,
              GruForwardAt<TG, T>{static_cast<const T*>(h.data), static_cast<const TG*>(gates.data),
                                  static_cast<T*>(out.data), h.size(2)});
}

// dh or dgates may be absent; dgates holds TD, which need not be TG.
template <class TG, class T, class TD>
void gru_backward(const Context& ctx, const View& h, const View& gates, const View& dout, const View& dh,
                  const View& dgates) {
  if (!dh && !dgates) return;
  const View views[] = {h, reset_gates(gates, h), dout, dh ? dh : h, reset_gates(dgates, h)};
  for_strided(ctx, views,
              GruBackwardAt<TG, T, TD>{static_cast<const T*>(h.data), static_cast<const T*>(dout.data),
                                       static_cast<const TG*>(gates.data), static_cast<T*>(dh.data),
                                       static_cast<TD*>(dgates.data), h.size(2)});
}

}  // namespace dr::DR_BACKEND
