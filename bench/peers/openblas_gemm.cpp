// OpenBLAS's sgemm as a peer. Requests: gemm.h, and `coretype=NAME` to force another kernel family than the best.
//
// OpenBLAS picks its kernels by the processor's model number when it is loaded, and falls back to old ones for a
// model it does not know. A slow pick would flatter us, so OPENBLAS_CORETYPE is set before the library is opened
// (dlopen, not linked, for that reason): SKYLAKEX, its AVX-512 kernels, or HASWELL, its AVX2 kernels. The core that
// it then reports is part of the answer. The library's path comes from the environment variable
// PEER_OPENBLAS_LIBRARY.

#include <dlfcn.h>

#include <cstdlib>

#include "bench/peers/gemm.h"

namespace {

enum : int { kRowMajor = 101, kNoTrans = 111, kTrans = 112 };  // cblas.h

struct OpenBlas {
  void (*sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                int ldb, float beta, float* c, int ldc);
  void (*set_threads)(int);
  std::string version;

  static std::string best_coretype() {
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? "SKYLAKEX" : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "HASWELL" : "";
  }

  explicit OpenBlas(const std::string& coretype) {
    const char* path = std::getenv("PEER_OPENBLAS_LIBRARY");
    if (!path) path = "libopenblas.so.0";
    if (!coretype.empty()) setenv("OPENBLAS_CORETYPE", coretype.c_str(), 1);
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) throw std::runtime_error(std::string("cannot open OpenBLAS: ") + dlerror());
    auto find = [&](auto& function, const std::string& name) {  // SciPy's build prefixes its names
      void* p = dlsym(library, ("scipy_" + name).c_str());
      if (!p) p = dlsym(library, name.c_str());
      if (!p) throw std::runtime_error(std::string(path) + " has no " + name);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(p);
    };
    const char* (*config)() = nullptr;
    const char* (*corename)() = nullptr;
    find(sgemm, "cblas_sgemm");
    find(set_threads, "openblas_set_num_threads");
    find(config, "openblas_get_config");
    find(corename, "openblas_get_corename");
    std::istringstream words(config());
    std::string name, number;
    words >> name >> number;
    version = name + " " + number + " " + corename();
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<OpenBlas> blas;
  std::string loaded;
  return peer::serve(argc, argv, [&](const peer::Request& r) {
    if (r.op != "gemm") throw std::runtime_error("openblas_gemm knows gemm, not " + r.op);
    peer::Gemm g = peer::Gemm::parse(r);
    std::string coretype = r.text("coretype", OpenBlas::best_coretype());
    if (blas && coretype != loaded) throw std::runtime_error("one coretype per process: OpenBLAS reads it once");
    if (!blas) blas = std::make_unique<OpenBlas>(loaded = coretype);
    blas->set_threads(r.threads());
    peer::Timing t = peer::measure_gemm(r, g, [&](const float* a, const float* b, float* c) {
      blas->sgemm(kRowMajor, g.ta ? kTrans : kNoTrans, g.tb ? kTrans : kNoTrans, int(g.m), int(g.n), int(g.k), 1.0f, a,
                  int(g.lda()), b, int(g.ldb()), 0.0f, c, int(g.n));
    });
    return peer::Answer{"openblas", blas->version, "", t, g.flops(), g.bytes()};
  });
}
