#include "kernels/inverse_warp/inverse_warp.h"

#include "kernels/grid_sample/gpu_bilinear.h"
#include "kernels/project_depth/gpu_projection.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct Warp {
  Projections projections;
  Pixels<const float> depth;
  Pixels<const T> image;
  Map map;              // of image 0: its size
  int64_t rows, width;  // of depth
  Padding padding;
  ChannelParts parts;
  T* y;
  float* mask;

  DR_DEVICE void operator()(int64_t i) const {
    const ChannelParts::Part part = parts(i);
    const PixelAt q = pixel_at(part.pixel, rows, width);
    const Projection p = projections(q.n);
    const Projected to(p, row_rays(p, q.j, q.i), *depth.at(q.n, q.i, q.j));
    if (part.c == 0) {
      const bool seen = to.x >= 0 && to.x <= float(map.width - 1) && to.y >= 0 && to.y <= float(map.height - 1);
      mask[part.pixel] = seen ? 1.f : 0.f;
    }
    Place place;
    const Corners at = corners_of({to.x, to.y}, map, image.row, image.column, 0, padding, place);
    const Channels v = at.inside ? blend(at, image.at(q.n, 0, 0), part) : no_channels();
    store_channels(y + part.pixel * parts.channels + part.c, v, part);
  }
};

// Where pixels fall, out of memory.
struct StoredPoints {
  const float* points;
  DR_DEVICE Pairs operator()(int64_t e) const { return {points[2 * e], points[2 * e + 1]}; }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void InverseWarp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.y.packed() && out.mask.packed(), "inverse_warp: y and mask must be packed");
  const ChannelParts parts = channel_parts(in.image.size(3), in.image, out.y);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    for_each(ctx, in.depth.count() * parts.parts,
             Warp<T>{Projections(in.camera, in.to_camera, in.pose), pixels_of<const float>(in.depth),
                     pixels_of<const T>(in.image), {in.image.size(1), in.image.size(2), 0}, in.depth.size(1),
                     in.depth.size(2), padding, parts, static_cast<T*>(out.y.data), out.mask.as<float>()});
  });
}

template <>
void InverseWarp::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                     const Grad& grad) const {
  for (const View* v : {&dout.y, &grad.image, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "inverse_warp: gradients must be packed");
  const Projections projections(in.camera, in.to_camera, in.pose);
  const int64_t pixels = in.depth.count(), channels = in.image.size(3);
  const size_t points_at = pose_sums_bytes(in.depth), slopes_at = points_at + 2 * size_t(pixels) * sizeof(float),
               scatter_at = slopes_at + 2 * size_t(pixels) * sizeof(float);
  float* const points = ctx.scratch_as<float>(2 * size_t(pixels), points_at);
  float* const slopes = ctx.scratch_as<float>(2 * size_t(pixels), slopes_at);
  project(ctx, projections, in.depth, points, nullptr);
  const ImageSamples<StoredPoints> samples{
      {points}, in.image.size(1), in.image.size(2), in.depth.size(1) * in.depth.size(2)};
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    if (grad.depth || grad.pose) {
      sample_slopes(
          ctx, pixels,
          Slopes<T, StoredPoints>{samples, pixels_of<const T>(in.image), dy, channels, padding, 1, 1, slopes});
      project_backward(ctx, projections, in.depth, slopes, nullptr, grad.depth, grad.pose);
    }
    if (grad.image)
      gather_samples<T>(ctx, scatter_size(in), samples, padding, SampleGradient<T>{dy, channels},
                        channel_parts(channels, dout.y, grad.image), grad.image.count() / channels,
                        static_cast<T*>(grad.image.data), scatter_at);
  });
}

}  // namespace dr
