#include "kernels/grid_sample/grid_sample.h"

#include "kernels/grid_sample/gpu_bilinear.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct GridPoints {
  GridSample::Unit x, y;
  const float* data;
  int64_t stride, per_image;
  DR_DEVICE Pairs operator()(int64_t e) const {
    const int64_t n = e / per_image;
    const float* const p = data + n * stride + 2 * (e - n * per_image);
    return {fma(p[0], x.scale, x.offset), fma(p[1], y.scale, y.offset)};
  }
};
using Samples = ImageSamples<GridPoints>;

Samples samples_of(const GridSample& op, const GridSample::In& in) {
  const int64_t h = in.x.size(1), w = in.x.size(2), per_image = in.grid.size(1) * in.grid.size(2);
  return {
      {{op.coordinates, w}, {op.coordinates, h}, in.grid.as<float>(), in.grid.stride(0), per_image}, h, w, per_image};
}

template <class T>
struct Sample {
  Samples samples;
  ChannelParts parts;
  Pixels<const T> image;
  Padding padding;
  T* y;

  DR_DEVICE void operator()(int64_t i) const {
    const ChannelParts::Part part = parts(i);
    const int64_t e = part.pixel;
    Place place;
    const Corners at = corners_of(samples.at(e), samples.map(e), image.row, image.column, 0, padding, place);
    const Channels v = at.inside ? blend(at, image.at(e / samples.per_image, 0, 0), part) : no_channels();
    store_channels(y + e * parts.channels + part.c, v, part);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GridSample::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.y.packed(), "grid_sample: y must be packed");
  const ChannelParts parts = channel_parts(in.x.size(3), in.x, out.y);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_each(ctx, in.grid.count() / 2 * parts.parts,
             Sample<T>{samples_of(*this, in), parts, pixels_of<const T>(in.x), padding, static_cast<T*>(out.y.data)});
  });
}

template <>
void GridSample::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                    const Grad& grad) const {
  for (const View* v : {&dout.y, &grad.x, &grad.grid})
    CHECK(!*v || v->packed(), "grid_sample: gradients must be packed");
  const Samples samples = samples_of(*this, in);
  const int64_t channels = in.x.size(3);
  const ScatterSize size = scatter_size(in);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    if (grad.grid)
      sample_slopes(ctx, size.samples,
                    Slopes<T, GridPoints>{samples, pixels_of<const T>(in.x), dy, channels, padding, samples.at.x.scale,
                                          samples.at.y.scale, grad.grid.as<float>()});
    if (grad.x)
      gather_samples<T>(ctx, size, samples, padding, SampleGradient<T>{dy, channels},
                        channel_parts(channels, dout.y, grad.x), grad.x.count() / channels,
                        static_cast<T*>(grad.x.data), 0);
  });
}

}  // namespace dr
