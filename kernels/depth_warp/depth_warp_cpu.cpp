#include "kernels/depth_warp/depth_warp.h"

#include <algorithm>

#include "kernels/core/stream.h"
#include "kernels/core/work_items.h"
#include "kernels/depth_warp/splat.h"
#include "kernels/grid_sample/bilinear.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kRows = 4;  // of parallel work in rows of the new view

// Rows [first, last) of sample n into `buffer`, which holds OH OW elements and one for pixels that land nowhere.
void splat_rows(const DepthWarp& op, const DepthWarp::In& in, int64_t n, int64_t first, int64_t last,
                uint64_t* buffer) {
  const int64_t out_rows = op.rows(in), out_width = op.columns(in), nowhere = out_rows * out_width;
  std::fill_n(buffer, nowhere, Splat::kNothing);
  const Projection p = Projections(in.camera, in.to_camera, in.pose)(n);
  const f32v width = splat(float(out_width)), height = splat(float(out_rows));
  for (int64_t v = first; v < last; v++) {
    const float* const depth = in.depth.as<float>() + n * in.depth.stride(0) + v * in.depth.stride(1);
    for_vectors(in.depth.size(2), [&](int64_t u, auto m) {
      const Projected at(p, row_rays(p, u, v), load_n(depth + u, m));
      const Landing on(at, width, height);
      const i32v target = pick(on.lands, on.j * splat_i(int(out_width)) + on.i, splat_i(int(nowhere)));
      alignas(64) int32_t to[W];
      alignas(64) uint32_t z[W];
      std::memcpy(to, &target, sizeof to);
      std::memcpy(z, &at.z, sizeof z);
      for (int k = 0; k < m; k++) {
        uint64_t& best = buffer[to[k]];
        best = std::min(best, Splat::pack(z[k], v, u + k));
      }
    });
  }
}

// Row `v` of the new view of sample n from its buffers, `parts` of them one after the other.
template <int C, class T>
void resolve_row(const DepthWarp& op, const DepthWarp::In& in, const DepthWarp::Out& out, int64_t n, int64_t v,
                 const uint64_t* buffers, int64_t parts) {
  static constexpr T kEmpty[4] = {};
  const int64_t width = op.columns(in), channels = in.image.size(3), row = (n * op.rows(in) + v) * width;
  const T* const image = static_cast<const T*>(in.image.data) + n * in.image.stride(0);
  T* y = static_cast<T*>(out.y.data) + row * channels;
  for (int64_t u = 0; u < width; u++, y += channels) {
    uint64_t best = buffers[v * width + u];
    for (int64_t k = 1; k < parts; k++) best = std::min(best, buffers[k * op.buffer_elements(in) + v * width + u]);
    const Splat from{best};
    const bool hit = from.hit();
    out.mask.as<float>()[row + u] = hit ? 1.f : 0.f;
    out.z.as<float>()[row + u] = from.z();
    out.source.as<int32_t>()[row + u] = hit ? int32_t(from.v() * in.depth.size(2) + from.u()) : -1;
    const T* const x = hit ? image + from.v() * in.image.stride(1) + from.u() * in.image.stride(2) : kEmpty;
    if constexpr (C != 0) {  // holes come and go: no branch
      for (int c = 0; c < C; c++) y[c] = x[c];
    } else if (hit) {
      for_vectors(channels, [&](int64_t c, auto m) { store_n(y + c, load_n(x + c, m), m); });
    } else {
      std::memset(y, 0, size_t(channels) * sizeof(T));
    }
  }
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void DepthWarp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t samples = in.depth.size(0), source_rows = in.depth.size(1), out_rows = rows(in);
  for (const View* v : {&out.y, &out.mask, &out.z, &out.source})
    CHECK(v->packed(), "depth_warp: outputs must be packed");
  if (out.mask.count() == 0) return;
  const int64_t cut = parts(samples, ctx.threads()), size = buffer_elements(in);
  uint64_t* const buffers = ctx.scratch_as<uint64_t>(scratch_bytes(in, ctx.threads()) / sizeof(uint64_t));
  auto resolve = [&](int64_t n, int64_t first, int64_t last, const uint64_t* buffer) {
    with_float_type(in.image.dtype, [&]<class T>(T*) {
      with_channels(in.image.size(3), [&](auto c) {
        for (int64_t v = first; v < last; v++) resolve_row<c, T>(*this, in, out, n, v, buffer, cut);
      });
    });
  };
  if (cut == 1) {
    for_each_item(ctx, samples, [&](int64_t n, int64_t slot) {
      splat_rows(*this, in, n, 0, source_rows, buffers + slot * size);
      resolve(n, 0, out_rows, buffers + slot * size);
    });
  } else {
    for_each_item(ctx, samples * cut, [&](int64_t item, int64_t) {
      const int64_t part = item % cut;
      splat_rows(*this, in, item / cut, part * source_rows / cut, (part + 1) * source_rows / cut,
                 buffers + item * size);
    });
    for_pieces(ctx, samples, out_rows, kRows, false, [&](int64_t n, int64_t first, int64_t count) {
      resolve(n, first, first + count, buffers + n * cut * size);
    });
  }
}

template <>
void DepthWarp::backward<kBackend>(Context& ctx, const In& in, const Out& out, const OutGrad& dout,
                                   const Grad& grad) const {
  const int64_t samples = in.depth.size(0), out_rows = rows(in), out_width = columns(in), channels = in.image.size(3);
  const int64_t source_rows = in.depth.size(1), source_width = in.depth.size(2);
  for (const View* v : {&dout.y, &dout.z, &grad.image, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "depth_warp: gradients must be packed");
  for_pieces(ctx, samples, source_rows, kRows, false, [&](int64_t n, int64_t first, int64_t count) {
    const int64_t begin = (n * source_rows + first) * source_width, pixels = count * source_width;
    const size_t width = size_of(in.image.dtype) * size_t(channels);
    if (grad.image) std::memset(static_cast<char*>(grad.image.data) + size_t(begin) * width, 0, size_t(pixels) * width);
    if (grad.depth) std::memset(grad.depth.as<float>() + begin, 0, size_t(pixels) * sizeof(float));
  });
  const bool geometry = (grad.depth || grad.pose) && dout.z;
  float* const sums = grad.pose ? ctx.scratch_as<float>(size_t(samples * out_rows * 4)) : nullptr;
  // A source wins one pixel at most, so no two threads write to one place.
  for_pieces(ctx, samples, out_rows, kRows, false, [&](int64_t n, int64_t first, int64_t count) {
    const Projection p = Projections(in.camera, in.to_camera, in.pose)(n);
    for (int64_t v = first; v < first + count; v++) {
      const int64_t row = (n * out_rows + v) * out_width;
      const int32_t* const source = out.source.as<int32_t>() + row;
      if (grad.image && dout.y)
        with_float_type(in.image.dtype, [&]<class T>(T*) {
          T* const dx = static_cast<T*>(grad.image.data) + n * source_rows * source_width * channels;
          const T* const dy = static_cast<const T*>(dout.y.data) + row * channels;
          for (int64_t u = 0; u < out_width; u++)
            if (source[u] >= 0)
              for (int64_t c = 0; c < channels; c++) dx[source[u] * channels + c] = dy[u * channels + c];
        });
      if (!geometry) continue;
      Lanes lanes[4];
      for_vectors(out_width, [&](int64_t u, auto m) {
        alignas(64) float from_u[W] = {}, from_v[W] = {}, depth[W] = {};
        for (int k = 0; k < m; k++) {
          const int32_t s = std::max(source[u + k], 0), j = s / int32_t(source_width), i = s % int32_t(source_width);
          from_u[k] = float(i), from_v[k] = float(j);
          const float d = in.depth.as<float>()[n * in.depth.stride(0) + j * in.depth.stride(1) + i];
          depth[k] = source[u + k] < 0 ? 0.f : d;  // it may be anything where nothing landed
        }
        i32v won;
        for (int k = 0; k < W; k++) won[k] = k < m ? ~source[u + k] : 0;
        const Rays rays(p, load(from_u), load(from_v));
        const f32v dz = pick(won < 0, load_n(dout.z.as<float>() + row + u, m), f32v{});
        if (grad.depth) {
          const f32v d = dz * rays.q[2];
          for (int k = 0; k < m; k++)
            if (source[u + k] >= 0) grad.depth.as<float>()[n * source_rows * source_width + source[u + k]] = d[k];
        }
        const f32v t = dz * load(depth);
        const int64_t slot = u / W % (32 / W);
        lanes[0].acc[slot] = fma(t, rays.x, lanes[0].acc[slot]);
        lanes[1].acc[slot] = fma(t, rays.y, lanes[1].acc[slot]);
        lanes[2].acc[slot] += t;
        lanes[3].acc[slot] += dz;
      });
      if (grad.pose)
        for (int k = 0; k < 4; k++) sums[(n * 4 + k) * out_rows + v] = lanes[k].total();
    }
  });
  if (!grad.pose) return;
  std::memset(grad.pose.data, 0, grad.pose.bytes());
  for (int64_t n = 0; geometry && n < samples; n++)
    for (int64_t k = 0; k < 4; k++)
      grad.pose.as<float>()[12 * n + 8 + k] = row_sum(sums + (n * 4 + k) * out_rows, out_rows);
}

}  // namespace dr
