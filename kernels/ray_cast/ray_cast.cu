#include "kernels/ray_cast/ray_cast.h"

#include <algorithm>
#include <bit>

#include "kernels/ray_cast/ray_cast_math.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using namespace ray_cast;

// Raises what the CPU throws: a camera that names no scene, a scene that reaches outside its tables.
struct CheckTables {
  const int32_t* scene_of;
  int64_t cameras;
  Scenes scenes;
  FaultSink faults;

  DR_DEVICE static void check(const FaultSink& f, int64_t v, int64_t high) {
    if (v < 0 || v > high) f.raise(v, 0, high);
  }
  DR_DEVICE void operator()(int64_t i) const {
    if (i < cameras) check(faults, scene_of[i], scenes.scenes - 1);
    if (i >= scenes.scenes) return;
    check(faults, scenes.cells_end(i), scenes.cell_count);
    check(faults, scenes.objects_end(i), scenes.object_count);
  }
};

constexpr int kTileWidth = 32, kTileHeight = 8, kThreads = kTileWidth * kTileHeight;

// What a tile's pixels can see of kThreads objects, in order.
struct SeenObjects {
  Visible object[kThreads];
  int in_group[kThreads / kGroup];
};

struct Images {
  Tables tables;
  Scenes scenes;
  const float* camera;
  int64_t camera_stride;
  const int32_t* scene_of;
  int64_t height, width, tiles_y, tiles_x;
  uint8_t *rgb, *label;
  float* depth;
};

// A block makes a tile of an image: the sky and the ground, then objects, some at a time, of which each thread finds
// out for all whether the tile can see one.
DR_KERNEL void ray_cast_tile(Images v) {
  auto& seen = shared_memory<SeenObjects>();
  const int64_t tile = block_index().x, n = tile / (v.tiles_y * v.tiles_x);
  const int64_t first_row = tile / v.tiles_x % v.tiles_y * kTileHeight, first_column = tile % v.tiles_x * kTileWidth;
  const int64_t row = first_row + group_index(), column = first_column + lane_index(),
                at = (n * v.height + row) * v.width + column;
  const bool in_image = row < v.height && column < v.width;
  const int64_t e = v.scene_of[n];
  if (!v.scenes.sound(e)) {  // raised by CheckTables
    if (in_image) v.depth[at] = 0, v.label[at] = 0, v.rgb[3 * at] = v.rgb[3 * at + 1] = v.rgb[3 * at + 2] = 0;
    return;
  }
  const Camera camera(v.camera + n * v.camera_stride);
  const Scene scene = v.scenes(e);
  const Rays d(camera, RowRays(camera, row), float(column));
  Seen s = backdrop(v.tables, scene, camera, d);
  for (int first = 0; first < scene.count; first += kThreads) {
    Visible own;
    const int i = first + thread_index();
    const bool sees =
        i < scene.count &&
        own.find(scene.objects + int64_t{i} * kObjectFields, camera, first_row, first_row + kTileHeight, v.width) &&
        int64_t(own.left) < first_column + kTileWidth && int64_t(own.right) > first_column;
    const uint32_t group = ballot(sees);
    if (lane_index() == 0) seen.in_group[group_index()] = std::popcount(group);
    block_sync();  // the groups have counted
    int before = 0, count = 0;
    for (int g = 0; g < kThreads / kGroup; g++) {
      if (g < group_index()) before += seen.in_group[g];
      count += seen.in_group[g];
    }
    if (sees) seen.object[before + std::popcount(group & ((1u << lane_index()) - 1))] = own;
    block_sync();  // the objects are there
    for (int k = 0; k < count; k++) cast(seen.object[k], scene, camera, d, s.t, s.label, s.colour);
    block_sync();  // all have looked at them
  }
  if (!in_image) return;
  const Shown shown = show(scene, d, s);
  v.depth[at] = shown.depth;
  v.label[at] = uint8_t(s.label);
  v.rgb[3 * at] = uint8_t(shown.r), v.rgb[3 * at + 1] = uint8_t(shown.g), v.rgb[3 * at + 2] = uint8_t(shown.b);
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void RayCast::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t cameras = in.camera.size(0), tiles_y = (height + kTileHeight - 1) / kTileHeight,
                tiles_x = (width + kTileWidth - 1) / kTileWidth;
  const ray_cast::Scenes scenes(in);
  const int32_t* const scene_of = in.scene_of.as<int32_t>();
  for_each(ctx, std::max(cameras, scenes.scenes), CheckTables{scene_of, cameras, scenes, fault_sink(ctx, name)});
  if (cameras == 0) return;
  launch<ray_cast_tile>(
      ctx, {.grid = {blocks_for(cameras * tiles_y * tiles_x, 1)}, .threads = kThreads, .shared = sizeof(SeenObjects)},
      Images{ray_cast::Tables(in), scenes, in.camera.as<float>(), in.camera.stride(0), scene_of, height, width, tiles_y,
             tiles_x, out.rgb.as<uint8_t>(), out.label.as<uint8_t>(), out.depth.as<float>()});
}

}  // namespace dr
