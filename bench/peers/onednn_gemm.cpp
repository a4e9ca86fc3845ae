// oneDNN as a peer. Requests: gemm.h, and `api=matmul|sgemm|best`: its matmul primitive, its BLAS-like call, or (the
// default) whichever of the two is faster on this shape. Operands keep the plain layouts that the request names:
// reordering weights ahead of time into oneDNN's own blocked layout is not counted as a matrix product. oneDNN picks
// its kernels by the processor's features, so there is nothing to force.

#include <omp.h>

#include <dnnl.hpp>

#include "bench/peers/gemm.h"

namespace {

peer::Timing time_sgemm(const peer::Request& r, const peer::Gemm& g) {
  return peer::measure_gemm(r, g, [&](const float* a, const float* b, float* c) {
    dnnl_status_t status = dnnl_sgemm(g.ta ? 'T' : 'N', g.tb ? 'T' : 'N', g.m, g.n, g.k, 1.0f, a, g.lda(), b, g.ldb(),
                                      0.0f, c, g.n);
    if (status != dnnl_success) throw std::runtime_error("dnnl_sgemm failed");
  });
}

peer::Timing time_matmul(const peer::Request& r, const peer::Gemm& g) {
  using namespace dnnl;
  using Md = memory::desc;
  static engine cpu(engine::kind::cpu, 0);
  static stream queue(cpu);
  constexpr auto f32 = memory::data_type::f32;
  Md a_md({g.m, g.k}, f32, g.ta ? memory::dims{1, g.m} : memory::dims{g.k, 1});
  Md b_md({g.k, g.n}, f32, g.tb ? memory::dims{1, g.k} : memory::dims{g.n, 1});
  Md c_md({g.m, g.n}, f32, memory::dims{g.n, 1});
  primitive_attr attr;
  attr.set_scratchpad_mode(scratchpad_mode::user);  // allocated once, as a framework would
  matmul::primitive_desc pd(cpu, a_md, b_md, c_md, attr);
  matmul product(pd);
  memory a_mem(a_md, cpu, nullptr), b_mem(b_md, cpu, nullptr), c_mem(c_md, cpu, nullptr);
  memory scratch(pd.scratchpad_desc(), cpu);
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, a_mem}, {DNNL_ARG_WEIGHTS, b_mem}, {DNNL_ARG_DST, c_mem}, {DNNL_ARG_SCRATCHPAD, scratch}};
  return peer::measure_gemm(r, g, [&](const float* a, const float* b, float* c) {
    a_mem.set_data_handle(const_cast<float*>(a));
    b_mem.set_data_handle(const_cast<float*>(b));
    c_mem.set_data_handle(c);
    product.execute(queue, arguments);
    queue.wait();
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> faster;  // request without its time -> api
  return peer::serve(argc, argv, [&](const peer::Request& r) {
    if (r.op != "gemm") throw std::runtime_error("onednn_gemm knows gemm, not " + r.op);
    peer::Gemm g = peer::Gemm::parse(r);
    omp_set_num_threads(r.threads());  // before a primitive is made: its work is cut for that number
    std::string api = r.text("api", "best");
    if (api == "best") {
      std::ostringstream key;
      key << g.m << ' ' << g.n << ' ' << g.k << ' ' << g.ta << g.tb << ' ' << r.threads();
      std::string& known = faster[key.str()];
      if (known.empty()) known = time_matmul(r, g).quantile(0.1) <= time_sgemm(r, g).quantile(0.1) ? "matmul" : "sgemm";
      api = known;
    }
    if (api != "matmul" && api != "sgemm")
      throw std::runtime_error("gemm: api is '" + api + "', accepted are matmul, sgemm, best");
    peer::Timing t = api == "matmul" ? time_matmul(r, g) : time_sgemm(r, g);
    const dnnl_version_t* v = dnnl_version();
    auto number = [](int n) { return std::to_string(n); };
    std::string version = "oneDNN " + number(v->major) + "." + number(v->minor) + "." + number(v->patch);
    return peer::Answer{"onednn", version, api, t, g.flops(), g.bytes()};
  });
}
