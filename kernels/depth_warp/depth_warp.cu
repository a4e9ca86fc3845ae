#include "kernels/depth_warp/depth_warp.h"

#include "kernels/depth_warp/splat.h"

#include "kernels/core/gpu_channels.h"
#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_strided.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct ClearBuffer {
  uint64_t* best;
  DR_DEVICE void operator()(int64_t i) const { best[i] = Splat::kNothing; }
};

// A pixel of the image into the buffer.
struct SplatPixel {
  Projections projections;
  Pixels<const float> depth;
  int64_t rows, width, out_rows, out_width;
  uint64_t* best;

  DR_DEVICE void operator()(int64_t i) const {
    const PixelAt q = pixel_at(i, rows, width);
    const Projection p = projections(q.n);
    const Projected at(p, row_rays(p, q.j, q.i), *depth.at(q.n, q.i, q.j));
    const Landing on(at, float(out_width), float(out_rows));
    if (on.lands)
      atomic_min(best + (q.n * out_rows + on.j) * out_width + on.i, Splat::pack(bits<uint32_t>(at.z), q.i, q.j));
  }
};

// A pixel of the new view out of the buffer.
template <class T>
struct Resolve {
  const uint64_t* best;
  Pixels<const T> image;
  ChannelParts parts;
  int64_t out_pixels, width;  // of an image: pixels of the new view; columns of the source
  T* y;
  float *mask, *z;
  int32_t* source;

  DR_DEVICE void operator()(int64_t i) const {
    const ChannelParts::Part part = parts(i);
    const Splat from{best[part.pixel]};
    if (part.c == 0) {
      mask[part.pixel] = from.hit() ? 1.f : 0.f;
      z[part.pixel] = from.z();
      source[part.pixel] = from.hit() ? int32_t(from.v() * width + from.u()) : -1;
    }
    const Channels v = from.hit() ? load_channels(image.at(part.pixel / out_pixels, from.v(), from.u()) + part.c, part)
                                  : no_channels();
    store_channels(y + part.pixel * parts.channels + part.c, v, part);
  }
};

// What a pixel of the new view gives to its source, which wins no other.
template <class T>
struct GiveToSource {
  const int32_t* source;
  ChannelParts parts;
  int64_t out_pixels, source_pixels;  // of an image
  const T* dy;
  T* dx;
  DR_DEVICE void operator()(int64_t i) const {
    const ChannelParts::Part part = parts(i);
    if (source[part.pixel] < 0) return;
    const int64_t to = part.pixel / out_pixels * source_pixels + source[part.pixel];
    store_channels(dx + to * parts.channels + part.c, load_channels(dy + part.pixel * parts.channels + part.c, part),
                   part);
  }
};

// A row of the new view, by a group: ddepth, and four sums for the pose.
struct GeometryRow {
  Projections projections;
  Pixels<const float> depth;
  int64_t rows, width, out_rows, out_width;
  const int32_t* source;
  const float* dz;
  float *ddepth, *sums;  // null: not wanted

  DR_DEVICE void operator()(int64_t r) const {
    const int64_t n = r / out_rows, v = r % out_rows;
    const Projection p = projections(n);
    float sum[4] = {};
    for (int64_t u = lane_index(); u < out_width; u += kGroup) {
      const int32_t s = source[r * out_width + u];
      const bool won = s >= 0;
      const int64_t j = won ? s / int32_t(width) : 0, i = won ? s % int32_t(width) : 0;
      const Rays rays(p, float(i), float(j));
      const float d = won ? *depth.at(n, j, i) : 0.f, g = won ? dz[r * out_width + u] : 0.f;
      if (won && ddepth) ddepth[n * rows * width + s] = g * rays.q[2];
      const float t = g * d;
      sum[0] = fma(t, rays.x, sum[0]), sum[1] = fma(t, rays.y, sum[1]);
      sum[2] = sum[2] + t, sum[3] = sum[3] + g;
    }
    if (!sums) return;
    DR_UNROLL
    for (int k = 0; k < 4; k++) {
      const float total = group_sum(sum[k]);
      if (lane_index() == 0) sums[(n * 4 + k) * out_rows + v] = total;
    }
  }
};

// Element r % 12 of the gradient of pose r / 12.
struct PoseElement {
  const float* sums;  // null: zero
  int64_t out_rows;
  float* dpose;
  DR_DEVICE void operator()(int64_t r) const {
    const int64_t k = r % 12 - 8;
    float total = 0;
    if (sums && k >= 0) {
      const float* const from = sums + (r / 12 * 4 + k) * out_rows;
      total = row_reduce(out_rows, [&](float& acc, int64_t v) { acc = acc + from[v]; });
    }
    if (lane_index() == 0) dpose[r] = total;
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void DepthWarp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for (const View* v : {&out.y, &out.mask, &out.z, &out.source})
    CHECK(v->packed(), "depth_warp: outputs must be packed");
  const int64_t pixels = out.mask.count();
  if (pixels == 0) return;
  uint64_t* const best = ctx.scratch_as<uint64_t>(size_t(pixels));
  for_each(ctx, pixels, ClearBuffer{best});
  for_each(ctx, in.depth.count(),
           SplatPixel{Projections(in.camera, in.to_camera, in.pose), pixels_of<const float>(in.depth), in.depth.size(1),
                      in.depth.size(2), rows(in), columns(in), best});
  const ChannelParts parts = channel_parts(in.image.size(3), in.image, out.y);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    for_each(
        ctx, pixels * parts.parts,
        Resolve<T>{best, pixels_of<const T>(in.image), parts, rows(in) * columns(in), in.depth.size(2),
                   static_cast<T*>(out.y.data), out.mask.as<float>(), out.z.as<float>(), out.source.as<int32_t>()});
  });
}

template <>
void DepthWarp::backward<kBackend>(Context& ctx, const In& in, const Out& out, const OutGrad& dout,
                                   const Grad& grad) const {
  for (const View* v : {&dout.y, &dout.z, &grad.image, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "depth_warp: gradients must be packed");
  const int64_t out_rows = rows(in), out_width = columns(in), source_rows = in.depth.size(1),
                source_width = in.depth.size(2);
  const int32_t* const source = out.source.as<int32_t>();
  if (grad.image) {
    clear_view(ctx, grad.image);
    const int64_t channels = in.image.size(3);
    const ChannelParts parts = channel_parts(channels, dout.y, grad.image);
    if (dout.y)
      with_float_type(in.image.dtype, [&]<class T>(T*) {
        for_each(ctx, out.source.count() * parts.parts,
                 GiveToSource<T>{source, parts, out_rows * out_width, source_rows * source_width,
                                 static_cast<const T*>(dout.y.data), static_cast<T*>(grad.image.data)});
      });
  }
  if (grad.depth) clear_view(ctx, grad.depth);
  const bool geometry = (grad.depth || grad.pose) && dout.z;
  float* const sums = grad.pose && geometry ? ctx.scratch_as<float>(size_t(in.depth.size(0) * out_rows * 4)) : nullptr;
  if (geometry)
    for_rows(ctx, in.depth.size(0) * out_rows,
             GeometryRow{Projections(in.camera, in.to_camera, in.pose), pixels_of<const float>(in.depth), source_rows,
                         source_width, out_rows, out_width, source, dout.z.as<float>(),
                         grad.depth ? grad.depth.as<float>() : nullptr, sums});
  if (grad.pose) for_rows(ctx, grad.pose.count(), PoseElement{sums, out_rows, grad.pose.as<float>()});
}

}  // namespace dr
