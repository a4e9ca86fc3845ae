#include "kernels/adaln_mlp/adaln_mlp.h"
#include "kernels/adaln/modulation.h"
#include "kernels/linear/linear_kernels.h"
#include "kernels/linear_gated_residual/residual_beside.h"
#include "kernels/linear_gelu/gelu_beside.h"

namespace dr {
namespace DR_ISA {
namespace {

using Buffers = AdaLNMlpBuffers;

static_assert(Buffers::kRows == kChainChunk && Buffers::kHidden == kChainChunk,
              "pieces are chunks of the chains over rows and over hidden units");

// The GEMM's own output is dpre; a is written beside it, for the products that follow.
struct GeluBack {
  const float* pre;
  int64_t pre_stride;
  float* a;
  int64_t a_stride;

  template <class N>
  DR_INLINE f32v operator()(int64_t row, int64_t column, f32v value, N n) const {
    const f32v z = load_n(pre + row * pre_stride + column, n);
    store_n(a + row * a_stride + column, gelu_tanh(z), n);
    return value * gelu_tanh_derivative(z);
  }
};

// Where pre itself is not wanted.
template <class Bias>
struct GeluOfSum {
  Bias add_bias;

  template <class N>
  DR_INLINE f32v operator()(int64_t row, int64_t column, f32v value, N n) const {
    return gelu_tanh(add_bias(row, column, value, n));
  }
};

// One more chunk of the chains that C holds; the first chunk where `before` is null.
struct Onward {
  const float* before;
  int64_t stride;

  template <class N>
  DR_INLINE f32v operator()(int64_t row, int64_t column, f32v value, N n) const {
    return before ? load_n(before + row * stride + column, n) + value : value;
  }
};

// c (+)= a b, a chunk of at most 512 along the inner axis.
void add_product(const Context& ctx, int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b, float* c,
                 int64_t ldc, bool first) {
  gemm_batch(ctx, 1, m, n, k, [&](int64_t) {
    return Problem<float, Onward>{a, b, c, ldc, Onward{first ? nullptr : c, ldc}};
  });
}

// Column sums of groups of `rows` rows, taken rows [begin, end) at a time: a chain begins with each group and after
// each 512 of its rows. open: the chains under way, a number per column. out (groups, columns): sums of finished
// chunks; nothing is done where it is absent.
template <class Term>
void onward_column_chains(const Context& ctx, int64_t rows, int64_t begin, int64_t end, const View& out, float* open,
                          Term&& term) {
  if (!out) return;
  const int64_t columns = out.size(1), strips = (columns + kStripColumns - 1) / kStripColumns;
  ctx.parallel(strips, 1, [&](int64_t first, int64_t last) {
    const int64_t end_column = std::min(last * kStripColumns, columns);
    for_vectors(end_column - first * kStripColumns, [&](int64_t i, auto n) {
      const int64_t c = first * kStripColumns + i;
      f32v sum = load_n(open + c, n);
      for (int64_t r = begin; r < end;) {
        const int64_t group = r / rows, place = r % rows, in_chunk = place % kChainChunk;
        const int64_t until = r + std::min(kChainChunk - in_chunk, rows - place);  // where the chunk ends
        if (in_chunk == 0) sum = f32v{};
        for (; r < std::min(until, end); r++) term(sum, r, c, n);
        if (r < until) break;
        float* const total = row_of<float>(out, group) + c;
        store_n(total, place < kChainChunk ? sum : load_n(total, n) + sum, n);
      }
      store_n(open + c, sum, n);
    });
  });
}

View rows_of(const View& v, int64_t begin, int64_t n) { return v ? v.slice(0, begin, n) : v; }

template <class T>
void forward_rows(const AdaLNMlp& op, Context& ctx, const AdaLNMlp::In& in, const AdaLNMlp::Out& out) {
  const int64_t rows = in.x.size(0), channels = in.x.size(1), hidden = AdaLNMlp::hidden(in);
  const int64_t frame_rows = RowGroups(in.shift.size(0), rows, 0).rows;
  Carver carver{ctx.scratch_as<float>(op.scratch_bytes(in, 1) / sizeof(float))};
  const Buffers buffer(AdaLNMlp::piece_rows(in), channels, hidden, false, op.keep_pre, carver);
  for (int64_t first = 0; first < rows; first += Buffers::kRows) {
    const int64_t count = std::min(Buffers::kRows, rows - first);
    const View n(buffer.n, DType::f32, {count, channels}), a(buffer.a, DType::f32, {count, hidden});
    norm_forward<T, float>(ctx, rows_of(in.x, first, count), op.eps, gain_of(in.scale, frame_rows, first),
                           shift_of(in.shift, frame_rows, first), n, rows_of(out.mean, first, count),
                           rows_of(out.rstd, first, count));
    with_bias(in.up_bias, [&](auto add_bias) {
      if (out.pre)
        linear_product<float>(ctx, n, in.up, rows_of(out.pre, first, count),
                              GeluBeside<decltype(add_bias), float>{add_bias, buffer.a, hidden});
      else linear_product<float>(ctx, n, in.up, a, GeluOfSum<decltype(add_bias)>{add_bias});
    });
    with_bias(in.down_bias, [&](auto add_bias) {
      const View h = rows_of(out.h, first, count);
      linear_product<float>(ctx, a, in.down, h,
                            ResidualBeside<decltype(add_bias), T>{
                                add_bias, row_of<const T>(in.x, first), row_of<T>(out.y, first),
                                in.gate.as<float>(), in.x.stride(0), out.y.stride(0), in.gate.stride(0), frame_rows,
                                first});
    });
  }
}

template <class T>
void backward_rows(const AdaLNMlp& op, Context& ctx, const AdaLNMlp::In& in, const AdaLNMlp::Out& saved,
                   const View& dy, const AdaLNMlp::Grad& grad) {
  const int64_t rows = in.x.size(0), channels = in.x.size(1), hidden = AdaLNMlp::hidden(in);
  const int64_t frame_rows = rows / in.shift.size(0), leaf_rows = rows / ctx.leaves;
  const bool needs_dn = grad.x || grad.shift || grad.scale;
  Carver carver{ctx.scratch_as<float>(op.scratch_bytes(in, 1) / sizeof(float))};
  const Buffers b(AdaLNMlp::piece_rows(in), channels, hidden, true, op.keep_pre, carver);
  const float* const h = saved.h.as<float>();
  const float *mean = saved.mean ? saved.mean.as<float>() : nullptr, *rstd = saved.rstd.as<float>();

  auto piece = [&](int64_t leaf, int64_t base) {
    const int64_t first = leaf * leaf_rows + base, count = std::min(Buffers::kRows, leaf_rows - base);
    const View x = rows_of(in.x, first, count), dy_rows = rows_of(dy, first, count);
    const View n(b.n, DType::f32, {count, channels}), dn(b.dn, DType::f32, {count, channels});
    const auto gain = gain_of(in.scale, frame_rows, first);
    auto frame_chains = [&](const View& out, float* open, auto&& term) {
      onward_column_chains(ctx, frame_rows, first, first + count, out, open, term);
    };
    auto leaf_chains = [&](const View& out, float* open, auto&& term) {
      onward_column_chains(ctx, leaf_rows, first, first + count, out, open, term);
    };

    if (grad.up || !saved.pre)
      norm_again<T, float>(ctx, x, rows_of(saved.mean, first, count), rows_of(saved.rstd, first, count), gain,
                           shift_of(in.shift, frame_rows, first), n);
    ctx.parallel(count, kRowsPerPiece, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T* d = row_of<const T>(dy_rows, r);
        const float* gate = row_of<const float>(in.gate, (first + r) / frame_rows);
        float* const dh = b.dh + r * channels;
        for_vectors(channels, [&](int64_t i, auto m) { store_n(dh + i, load_n(gate + i, m) * load_n(d + i, m), m); });
      }
    });
    frame_chains(grad.gate, b.gate, [&](f32v& sum, int64_t r, int64_t c, auto m) {
      sum = fma(load_n(row_of<const T>(dy, r) + c, m), load_n(h + r * channels + c, m), sum);
    });
    leaf_chains(grad.down_bias, b.bias, [&](f32v& sum, int64_t r, int64_t c, auto m) {
      sum += load_n(b.dh + (r - first) * channels + c, m);
    });

    const Operand dh{b.dh, DType::f32, channels, false}, dh_t{b.dh, DType::f32, channels, true};
    const Operand a{b.a, DType::f32, Buffers::kHidden, false}, dpre{b.dpre, DType::f32, Buffers::kHidden, false},
        dpre_t{b.dpre, DType::f32, Buffers::kHidden, true};
    const Operand down{in.down.data, in.down.dtype, in.down.stride(0), false},
        up{in.up.data, in.up.dtype, in.up.stride(0), false};
    for (int64_t j = 0; j < hidden; j += Buffers::kHidden) {
      const int64_t units = std::min(Buffers::kHidden, hidden - j);
      const float* pre = b.pre;
      if (saved.pre) pre = row_of<float>(saved.pre, first) + j;
      else
        with_bias(in.up_bias ? in.up_bias.slice(0, j, units) : in.up_bias, [&](auto add_bias) {
          linear_product<float>(ctx, n, in.up.slice(0, j, units), View(b.pre, DType::f32, {count, units}), add_bias);
        });
      const int64_t pre_stride = saved.pre ? hidden : units;
      gemm_batch(ctx, 1, count, units, channels, [&](int64_t) {
        return Problem<float, GeluBack>{dh, down.block(0, j), b.dpre, Buffers::kHidden,
                                        {pre, pre_stride, b.a, Buffers::kHidden}};
      });
      if (grad.down)
        add_product(ctx, channels, units, count, dh_t, a, row_of<float>(grad.down, leaf) + j, grad.down.stride(1),
                    base == 0);
      if (grad.up)
        add_product(ctx, units, channels, count, dpre_t, {b.n, DType::f32, channels, false},
                    row_of<float>(grad.up, leaf) + j * grad.up.stride(1), grad.up.stride(1), base == 0);
      if (grad.up_bias)
        leaf_chains(grad.up_bias.slice(1, j, units), b.up_bias + j, [&](f32v& sum, int64_t r, int64_t c, auto m) {
          sum += load_n(b.dpre + (r - first) * Buffers::kHidden + c, m);
        });
      if (needs_dn) add_product(ctx, count, channels, units, dpre, up.block(j, 0), b.dn, channels, j == 0);
    }
    if (!needs_dn) return;

    if (grad.x) {
      const NormBackward v{.x = x, .mean = rows_of(saved.mean, first, count),
                           .rstd = rows_of(saved.rstd, first, count), .dy = dn,
                           .dx = rows_of(grad.x, first, count), .dshift = {}, .dgain = {},
                           .groups = RowGroups(1, count, channels), .residual = dy_rows};
      norm_backward<T, float>(ctx, v, gain);
    }
    frame_chains(grad.shift, b.shift, [&](f32v& sum, int64_t r, int64_t c, auto m) {
      sum += load_n(b.dn + (r - first) * channels + c, m);
    });
    frame_chains(grad.scale, b.scale, [&](f32v& sum, int64_t r, int64_t c, auto m) {
      const f32v xhat = (load_n(row_of<const T>(in.x, r) + c, m) - splat(mean ? mean[r] : 0.f)) * splat(rstd[r]);
      sum = fma(load_n(b.dn + (r - first) * channels + c, m), xhat, sum);
    });
  };

  for (int64_t leaf = 0; leaf < ctx.leaves; leaf++)
    for (int64_t base = 0; base < leaf_rows; base += Buffers::kRows) piece(leaf, base);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void AdaLNMlp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { forward_rows<T>(*this, ctx, in, out); });
}

template <>
void AdaLNMlp::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                  const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "adaln_mlp: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  if (in.x.size(0) == 0) {
    for (const View* v : views(grad))
      if (*v) std::memset(v->data, 0, v->bytes());
    return;
  }
  with_float_type(in.x.dtype, [&]<class T>(T*) { backward_rows<T>(*this, ctx, in, saved, dy.y, grad); });
}

}  // namespace dr
