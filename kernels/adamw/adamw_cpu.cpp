#include "kernels/adamw/adamw.h"
#include "kernels/adamw/adamw_math.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kElementsPerPiece = 4096;  // of parallel work: whole cache lines, a few microseconds

void step_elements(const AdamW& op, const AdamW::In& in, const AdamW::Out& out, int64_t begin, int64_t end) {
  const AdamWStep step(op, *in.lr.as<float>(), in.correction.as<float>(), *in.grad_scale.as<float>());
  const float *param = in.param.as<float>() + begin, *grad = in.grad.as<float>() + begin;
  const float *m = in.m.as<float>() + begin, *v = in.v.as<float>() + begin;
  float *param_out = out.param.as<float>() + begin, *m_out = out.m.as<float>() + begin,
        *v_out = out.v.as<float>() + begin;
  // In place a line is in the cache already when it is written: nothing to save.
  const bool stream_param = param_out != param && streams(out.param), stream_m = m_out != m && streams(out.m),
             stream_v = v_out != v && streams(out.v);
  for_vectors(end - begin, [&](int64_t i, auto n) {
    f32v p = load_n(param + i, n), first = load_n(m + i, n), second = load_n(v + i, n);
    step(p, load_n(grad + i, n), first, second);
    put(param_out + i, p, n, stream_param);
    put(m_out + i, first, n, stream_m);
    put(v_out + i, second, n, stream_v);
  });
  stream_fence(stream_param || stream_m || stream_v);
}

void copy_elements(const View& from, const View& to, int64_t begin, int64_t end) {
  if (from.data != to.data)
    std::memcpy(to.as<float>() + begin, from.as<float>() + begin, size_t(end - begin) * sizeof(float));
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void AdamW::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.param.count();
  if (count == 0) return;
  const bool skipped = *in.grad_scale.as<float>() == 0.f;
  ctx.parallel(count, kElementsPerPiece, [&](int64_t begin, int64_t end) {
    if (!skipped) return step_elements(*this, in, out, begin, end);
    copy_elements(in.param, out.param, begin, end);
    copy_elements(in.m, out.m, begin, end);
    copy_elements(in.v, out.v, begin, end);
  });
}

}  // namespace dr
