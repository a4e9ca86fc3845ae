#include "kernels/ray_cast/ray_cast.h"

#include <algorithm>
#include <vector>

#include "kernels/ray_cast/ray_cast_math.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kBandRows = 8;  // rows of parallel work; the objects that a band can see are found once for it

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;
using namespace DR_ISA::ray_cast;

template <>
void RayCast::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t cameras = in.camera.size(0);
  const Tables tables(in);
  const Scenes scenes(in);
  const int32_t *scene_of = in.scene_of.as<int32_t>(), *layouts = in.layout.as<int32_t>();
  for (int64_t i = 0; i < cameras; i++)
    CHECK(scene_of[i] >= 0 && scene_of[i] < scenes.scenes, "ray_cast: camera {} looks at scene {}, there are {}", i,
          scene_of[i], scenes.scenes);
  for (int64_t e = 0; e < scenes.scenes; e++) {
    const int32_t* l = layouts + e * kLayoutFields;
    CHECK(scenes.cells_end(e) >= 0 && scenes.cells_end(e) <= scenes.cell_count,
          "ray_cast: the grid of scene {} ({} x {} from cell {}) reaches outside the {} cells", e, l[kLayoutRows],
          l[kLayoutColumns], l[kLayoutFirstCell], scenes.cell_count);
    CHECK(scenes.objects_end(e) >= 0 && scenes.objects_end(e) <= scenes.object_count,
          "ray_cast: the objects {} to {} of scene {} reach outside the {} objects", l[kLayoutFirstObject],
          int64_t{l[kLayoutFirstObject]} + l[kLayoutObjects], e, scenes.object_count);
  }
  const int64_t bands = (height + kBandRows - 1) / kBandRows;
  ctx.parallel(cameras * bands, 1, [&](int64_t begin, int64_t end) {
    struct InBand {
      Visible object;
      int64_t begin, end;  // columns, in whole vectors
    };
    std::vector<InBand> seen;
    for (int64_t band = begin; band < end; band++) {
      const int64_t n = band / bands, first = band % bands * kBandRows,
                    last = std::min<int64_t>(first + kBandRows, height);
      const Camera camera(in.camera.as<float>() + n * in.camera.stride(0));
      const Scene scene = scenes(scene_of[n]);
      seen.clear();
      InBand one;
      for (int32_t i = 0; i < scene.count; i++) {
        if (!one.object.find(scene.objects + int64_t{i} * kObjectFields, camera, first, last, width)) continue;
        one.begin = int64_t(one.object.left) / W * W, one.end = int64_t(one.object.right);
        seen.push_back(one);
      }
      for (int64_t row = first; row < last; row++) {
        const RowRays row_rays(camera, row);
        uint8_t* rgb = out.rgb.as<uint8_t>() + (n * height + row) * int64_t{width} * 3;
        uint8_t* label_out = out.label.as<uint8_t>() + (n * height + row) * width;
        float* depth = out.depth.as<float>() + (n * height + row) * width;
        for (int64_t column = 0; column < width; column += W) {
          const Rays d(camera, row_rays, splat(float(column)) + lane_numbers());
          Seen s = backdrop(tables, scene, camera, d);
          for (const InBand& o : seen)
            if (o.begin < column + W && column < o.end) cast(o.object, scene, camera, d, s.t, s.label, s.colour);
          const Shown shown = show(scene, d, s);
          const int count = int(std::min<int64_t>(W, width - column));
          store_n(depth + column, shown.depth, count);
          for (int i = 0; i < count; i++) {
            label_out[column + i] = uint8_t(s.label[i]);
            uint8_t* const to = rgb + (column + i) * 3;
            to[0] = uint8_t(shown.r[i]), to[1] = uint8_t(shown.g[i]), to[2] = uint8_t(shown.b[i]);
          }
        }
      }
    }
  });
}

}  // namespace dr
