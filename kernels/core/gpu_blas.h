#pragma once
// The fast tier's plain matrix product through cuBLASLt, where the program has CUDA: c = a b (+ bias), bf16 operands, f32 sums.
// The same algorithm for a shape every time (the library's heuristic, kept), with a workspace of fixed size and reductions
// that use no atomics, so that results are the same from run to run.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_gemm_hopper.h"

#if defined(DR_BACKEND_cuda)

#include <map>
#include <mutex>
#include <tuple>

namespace dr::DR_BACKEND {

namespace blas_detail {

struct Layout {
  cublasLtMatrixLayout_t l = nullptr;
  Layout(bool is_bf16, int64_t rows, int64_t columns, int64_t ld, int64_t batch, int64_t step) {
    // Row-major (rows, columns) is column-major (columns, rows).
    cublasLtMatrixLayoutCreate(&l, is_bf16 ? CUDA_R_16BF : CUDA_R_32F, uint64_t(columns), uint64_t(rows), ld);
    const int32_t count = int32_t(batch);
    cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step);
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(l); }
};

struct Description {
  cublasLtMatmulDesc_t d = nullptr;
  Description() { cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F); }
  ~Description() { cublasLtMatmulDescDestroy(d); }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, const T& value) { cublasLtMatmulDescSetAttribute(d, what, &value, sizeof value); }
};

}  // namespace blas_detail

// c = a b, and c's bias, of f32 and one problem, where there is one. a and b: fits_hopper. False, and nothing is done, where
// cuBLASLt has no algorithm for the call.
inline bool blas_gemm(const Context& ctx, const GemmShape& s, const Operand& a, const Operand& b, const StoreMatrix& c) {
  if (!evenly_spaced(c.batch.c) || c.goes_on || s.k == 0) return false;
  if (c.bias && (c.bias_is_bf16 || s.batch > 1)) return false;
  static cublasLtHandle_t handle = [] {
    cublasLtHandle_t h = nullptr;
    const cublasStatus_t r = cublasLtCreate(&h);
    CHECK(r == CUBLAS_STATUS_SUCCESS, "cuBLASLt: creating a handle failed with {}", int(r));
    return h;
  }();
  constexpr size_t kWorkspace = size_t{32} << 20;
  static void* const workspace = [] {
    void* p = nullptr;
    CHECK(cudaMalloc(&p, kWorkspace) == cudaSuccess, "cuBLASLt: its workspace of {} MB is not to be had", kWorkspace >> 20);
    return p;
  }();

  // In column-major terms: c^T (n x m) = b^T a^T.
  using namespace blas_detail;
  Description d;
  d.set(CUBLASLT_MATMUL_DESC_TRANSA, s.b_along_k ? CUBLAS_OP_T : CUBLAS_OP_N);
  d.set(CUBLASLT_MATMUL_DESC_TRANSB, s.a_along_k ? CUBLAS_OP_N : CUBLAS_OP_T);
  if (c.bias) {
    d.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    d.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.bias);
    d.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  const AsStored sa = as_stored(a, s.m, s.k), sb = as_stored(b, s.k, s.n);
  const Layout la(true, sb.rows, sb.columns, b.ld, s.batch, batch_step(b.batch)),
      lb(true, sa.rows, sa.columns, a.ld, s.batch, batch_step(a.batch)),
      lc(c.is_bf16, s.m, s.n, c.ld, s.batch, batch_step(c.batch.c));

  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, bool, bool, int64_t, int64_t, int64_t, int, bool>;
  static std::map<Key, cublasLtMatmulAlgo_t> known;
  static std::mutex mutex;
  const Key key{s.batch, s.m, s.n, s.k, s.a_along_k, s.b_along_k, a.ld, b.ld, c.ld, int(c.is_bf16), c.bias != nullptr};
  std::lock_guard lock(mutex);
  auto it = known.find(key);
  if (it == known.end()) {
    cublasLtMatmulPreference_t wanted = nullptr;
    cublasLtMatmulPreferenceCreate(&wanted);
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreferenceSetAttribute(wanted, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace, sizeof kWorkspace);
    cublasLtMatmulPreferenceSetAttribute(wanted, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t r = cublasLtMatmulAlgoGetHeuristic(handle, d.d, la.l, lb.l, lc.l, lc.l, wanted, 1, &found, &count);
    cublasLtMatmulPreferenceDestroy(wanted);
    if (r != CUBLAS_STATUS_SUCCESS || count == 0) return false;
    it = known.emplace(key, found.algo).first;
  }
  const float one = 1, zero = 0;
  const cublasStatus_t r =
      cublasLtMatmul(handle, d.d, &one, b.data, la.l, a.data, lb.l, &zero, c.data, lc.l, c.data, lc.l, &it->second, workspace,
                     kWorkspace, static_cast<cudaStream_t>(ctx.stream));
  CHECK(r == CUBLAS_STATUS_SUCCESS, "cuBLASLt: a product of {} x {} x {} failed with {}", s.m, s.n, s.k, int(r));
  return true;
}

}  // namespace dr::DR_BACKEND

#endif
