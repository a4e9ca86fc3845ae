// A fused linear layer equals its parts in turn, bit for bit, with f32 tensors (numerics: fusion); and the canonical
// GEMM equals its definition written out as loops over std::fma.

#include <cmath>

#include "kernels/gated_residual/gated_residual.h"
#include "kernels/gelu/gelu.h"
#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/matmul/matmul.h"
#include "tests/kernels_fixture.h"

namespace dr {
namespace {

using namespace test;

class Fusion : public KernelTest {
 protected:
  Fusion() : KernelTest(1 << 23, 2) {}
};

constexpr int64_t R = 36, K = 600, N = 83, F = 4;

TEST_P(Fusion, LinearGeluIsLinearThenGelu) {
  Tensor x({R, K}, 1), w({N, K}, 2, 0.1f), b({N}, 3), dy({R, N}, 4);
  Tensor y({R, N}), pre({R, N}), dx({R, K}), dw({2, N, K}), db({2, N});
  const LinearGelu::In in{x.view, w.view, b.view};
  run_forward(ctx_, LinearGelu{}, in, {y.view, pre.view});
  run_backward(ctx_, LinearGelu{}, in, {y.view, pre.view}, {dy.view}, {dx.view, dw.view, db.view});

  Tensor y2({R, N}), pre2({R, N}), dpre({R, N}), dx2({R, K}), dw2({2, N, K}), db2({2, N});
  run_forward(ctx_, Linear{}, {x.view, w.view, b.view}, {pre2.view});
  run_forward(ctx_, Gelu{}, {pre2.view}, {y2.view});
  run_backward(ctx_, Gelu{}, {pre2.view}, {y2.view}, {dy.view}, {dpre.view});
  run_backward(ctx_, Linear{}, {x.view, w.view, b.view}, {pre2.view}, {dpre.view}, {dx2.view, dw2.view, db2.view});
  expect_same_bits(pre, pre2, "pre");
  expect_same_bits(y, y2, "y");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
}

TEST_P(Fusion, LinearGatedResidualIsLinearThenGatedResidual) {
  Tensor x({R, K}, 1), w({N, K}, 2, 0.1f), b({N}, 3), gate({F, N}, 5), residual({R, N}, 6), dy({R, N}, 4);
  Tensor y({R, N}), h({R, N}), dx({R, K}), dw({2, N, K}), db({2, N}), dgate({F, N}), dresidual({R, N});
  const LinearGatedResidual::In in{x.view, w.view, b.view, gate.view, residual.view};
  Tensor y2({R, N}), h2({R, N}), dh({R, N}), dx2({R, K}), dw2({2, N, K}), db2({2, N}), dgate2({F, N}),
      dresidual2({R, N});
  run_forward(ctx_, Linear{}, {x.view, w.view, b.view}, {h2.view});
  run_forward(ctx_, GatedResidual{}, {residual.view, h2.view, gate.view}, {y2.view});
  run_backward(ctx_, GatedResidual{}, {residual.view, h2.view, gate.view}, {y2.view}, {dy.view},
               {dresidual2.view, dh.view, dgate2.view});
  run_backward(ctx_, Linear{}, {x.view, w.view, b.view}, {h2.view}, {dh.view}, {dx2.view, dw2.view, db2.view});
  run_forward(ctx_, LinearGatedResidual{}, in, {y.view, h.view});
  run_backward(ctx_, LinearGatedResidual{}, in, {y.view, h.view}, {dy.view},
               {dx.view, dw.view, db.view, dgate.view, dresidual.view});
  expect_same_bits(h, h2, "h");
  expect_same_bits(y, y2, "y");
  expect_same_bits(dx, dx2, "dx");
  expect_same_bits(dw, dw2, "dweight");
  expect_same_bits(db, db2, "dbias");
  expect_same_bits(dgate, dgate2, "dgate");
  expect_same_bits(dresidual, dresidual2, "dresidual");
}

// C[m,n] by the letter of the contract.
TEST_P(Fusion, MatMulIsItsDefinition) {
  for (int64_t k : {1, 511, 512, 513, 1200})
    for (bool trans_a : {false, true})
      for (bool trans_b : {false, true}) {
        const int64_t m = 61, n = 107;
        Tensor a(trans_a ? Sizes{k, m} : Sizes{m, k}, 7), b(trans_b ? Sizes{n, k} : Sizes{k, n}, 8), y({m, n}),
            expected({m, n});
        run_forward(ctx_, MatMul{.trans_a = trans_a, .trans_b = trans_b}, {a.view, b.view}, {y.view});
        for (int64_t i = 0; i < m; i++)
          for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t base = 0; base < k; base += 512) {
              float chunk = 0;
              for (int64_t l = base; l < std::min(k, base + 512); l++)
                chunk = std::fma(trans_a ? a.data[size_t(l * m + i)] : a.data[size_t(i * k + l)],
                                 trans_b ? b.data[size_t(j * k + l)] : b.data[size_t(l * n + j)], chunk);
              sum = base ? sum + chunk : chunk;
            }
            expected.data[size_t(i * n + j)] = sum;
          }
        expect_same_bits(y, expected, "y");
      }
}

// Where the blocks of 768 columns, 48 rows and 512 steps all have an end inside the matrix.
TEST_P(Fusion, LargeProductIsCutTheSameByAnyNumberOfThreads) {
  const int64_t m = 149, n = 901, k = 700;
  Tensor a({m, k}, 7), b({n, k}, 8), y({m, n}), one({m, n});
  run_forward(ctx_, MatMul{.trans_b = true}, {a.view, b.view}, {y.view});
  Context alone;
  alone.backend = cpu_backends()[0];
  run_forward(alone, MatMul{.trans_b = true}, {a.view, b.view}, {one.view});
  expect_same_bits(y, one, "y");
}

INSTANTIATE_TEST_SUITE_P(All, Fusion, testing::Combine(testing::ValuesIn(cpu_backends()), testing::Values(1, 2, 3, 7)),
                         backend_and_threads);

}  // namespace
}  // namespace dr
