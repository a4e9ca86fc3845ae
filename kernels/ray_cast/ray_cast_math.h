#pragma once
// What a ray meets and in which colour, W rays at a time: what CPU and devices share. kernels/ray_cast/ray_cast.h
// states it. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/ray_cast/ray_cast.h"

#include "kernels/core/lanes.h"
#include "kernels/core/math.h"

namespace dr::DR_ISA {
namespace ray_cast {

DR_INLINE f32v min(f32v a, f32v b) { return a < b ? a : b; }
DR_INLINE f32v max(f32v a, f32v b) { return a > b ? a : b; }
DR_INLINE f32v clamp01(f32v v) { return min(max(v, f32v{}), splat(1.f)); }
DR_INLINE f32v lerp(f32v a, f32v b, f32v w) { return fma(w, b - a, a); }

// Whether a condition holds anywhere, so that what follows is worth while.
DR_INLINE bool some(maskv mask) {
#if defined(DR_BACKEND)
  return mask;
#else
  int32_t all = 0;
  for (int i = 0; i < W; i++) all |= mask[i];
  return all != 0;
#endif
}

// floor(v) for |v| <= 2^30, as an integer; NaN becomes 0.
DR_INLINE i32v floor_i(f32v v) {
  return floor_of(v == v ? min(max(v, splat(-0x1p30f)), splat(0x1p30f)) : f32v{}).integer;
}

DR_INLINE f32v gather(const float* base, i32v index) {
#if defined(DR_BACKEND)
  return base[index];
#elif defined(DR_ISA_avx512)
  return _mm512_i32gather_ps((__m512i)index, base, 4);
#elif defined(DR_ISA_avx2)
  return _mm256_i32gather_ps(base, (__m256i)index, 4);
#else
  f32v v;
  for (int i = 0; i < W; i++) v[i] = base[index[i]];
  return v;
#endif
}
DR_INLINE i32v gather(const int32_t* base, i32v index) {
  return bits<i32v>(gather(reinterpret_cast<const float*>(base), index));
}

// ---- textures ----

// A lattice point's number in [-1, 1): Wellons' lowbias32 of a combination of its coordinates.
DR_INLINE f32v lattice(u32v x, u32v y, uint32_t seed) {
  u32v h = x * 0x8da6b343u + y * 0xd8163841u + seed * 0xcb1ab31fu;
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  h ^= h >> 16;
  return fma(to_float(bits<i32v>(h >> 8)), splat(0x1p-23f), splat(-1.f));
}

// Value noise in [-1, 1] with one lattice point each `cell` metres, faded out where a pixel spans a cell and more.
DR_INLINE f32v noise(f32v x, f32v y, float cell, f32v footprint, uint32_t seed) {
  const float per_metre = 1.f / cell;
  x *= per_metre, y *= per_metre;
  const i32v ix = floor_i(x), iy = floor_i(y);
  f32v u = x - to_float(ix), v = y - to_float(iy);
  u = clamp01(u), v = clamp01(v);
  u = u * u * (splat(3.f) - (u + u)), v = v * v * (splat(3.f) - (v + v));
  const u32v x0 = bits<u32v>(ix), y0 = bits<u32v>(iy);
  const f32v top = lerp(lattice(x0, y0, seed), lattice(x0 + 1u, y0, seed), u);
  const f32v bottom = lerp(lattice(x0, y0 + 1u, seed), lattice(x0 + 1u, y0 + 1u, seed), u);
  return lerp(top, bottom, v) * clamp01(splat(1.f) - footprint * per_metre);
}

// The share of a footprint centred at distance q from a bar's middle that the bar, of that half width, covers.
DR_INLINE f32v coverage(f32v q, f32v half_width, f32v footprint) {
  const f32v f = max(footprint, splat(1e-3f)), r = f * 0.5f, d = abs(q);
  return max(min(d + r, half_width) - max(d - r, -half_width), f32v{}) / f;
}

// The distance from the nearest multiple of the period, signed.
DR_INLINE f32v wrap(f32v v, float period) {
  return v - to_float(floor_i(fma(v, splat(1.f / period), splat(0.5f)))) * period;
}

struct Colour {
  f32v r, g, b;
};
DR_INLINE Colour lerp(const Colour& a, const Colour& b, f32v w) {
  return {lerp(a.r, b.r, w), lerp(a.g, b.g, w), lerp(a.b, b.b, w)};
}
DR_INLINE Colour scale(const Colour& c, f32v s) { return {c.r * s, c.g * s, c.b * s}; }
DR_INLINE Colour constant(const float* c) { return {splat(c[0]), splat(c[1]), splat(c[2])}; }

// ---- a call's tables, and one camera in its scene ----

struct Tables {
  const float *pieces, *profiles;
  int32_t piece_count, profile_count;

  explicit Tables(const RayCast::In& in)
      : pieces(in.pieces.as<float>()), profiles(in.profiles.as<float>()), piece_count(int32_t(in.pieces.size(0))),
        profile_count(int32_t(in.profiles.size(0))) {}
};

struct Camera {
  const float* at;     // x, y, z
  const float* r;      // 3 x 3
  float fx, fy, cx, cy;
  DR_INLINE explicit Camera(const float* c) : at(c), r(c + 3), fx(c[12]), fy(c[13]), cx(c[14]), cy(c[15]) {}
};

struct Scene {
  const float* v;      // a row of `scene`
  const int32_t* cells;
  int32_t columns, rows;
  const float* objects;
  int32_t count;
  uint32_t seed;
};

// The scenes of a call.
struct Scenes {
  const float *scene, *objects;
  const int32_t *layout, *cells;
  int64_t scenes, cell_count, object_count;
  bool roads;

  explicit Scenes(const RayCast::In& in)
      : scene(in.scene.as<float>()), objects(in.objects.as<float>()), layout(in.layout.as<int32_t>()),
        cells(in.cells.as<int32_t>()), scenes(in.scene.size(0)), cell_count(in.cells.size(0)),
        object_count(in.objects.size(0)), roads(in.pieces.size(0) > 0 && in.profiles.size(0) > 0) {}

  // One past the last cell, and the last object, of scene e; -1 where there can be none.
  DR_INLINE int64_t cells_end(int64_t e) const {
    const int32_t* const l = layout + e * kLayoutFields;
    if (l[kLayoutFirstCell] < 0 || l[kLayoutColumns] < 0 || l[kLayoutRows] < 0) return -1;
    return int64_t{l[kLayoutFirstCell]} + int64_t{l[kLayoutColumns]} * l[kLayoutRows];
  }
  DR_INLINE int64_t objects_end(int64_t e) const {
    const int32_t* const l = layout + e * kLayoutFields;
    if (l[kLayoutFirstObject] < 0 || l[kLayoutObjects] < 0) return -1;
    return int64_t{l[kLayoutFirstObject]} + l[kLayoutObjects];
  }
  DR_INLINE bool sound(int64_t e) const {
    return e >= 0 && e < scenes && cells_end(e) >= 0 && cells_end(e) <= cell_count && objects_end(e) >= 0 &&
           objects_end(e) <= object_count;
  }
  DR_INLINE Scene operator()(int64_t e) const {
    const int32_t* const l = layout + e * kLayoutFields;
    return {scene + e * kSceneFields, cells + l[kLayoutFirstCell], roads ? l[kLayoutColumns] : 0, l[kLayoutRows],
            objects + int64_t{l[kLayoutFirstObject]} * kObjectFields, l[kLayoutObjects], uint32_t(l[kLayoutSeed])};
  }
};

// The rays of pixels of one row.
struct RowRays {
  float base_x, base_y, base_z;
  DR_INLINE RowRays(const Camera& camera, int64_t row) {
    const float b = (float(row) - camera.cy) / camera.fy;
    base_x = fma(camera.r[1], b, camera.r[2]), base_y = fma(camera.r[4], b, camera.r[5]);
    base_z = fma(camera.r[7], b, camera.r[8]);
  }
};
struct Rays {
  f32v dx, dy, dz, length;
  DR_INLINE Rays(const Camera& camera, const RowRays& row, f32v u) {
    const f32v a = (u - camera.cx) / camera.fx;
    dx = fma(splat(camera.r[0]), a, splat(row.base_x)), dy = fma(splat(camera.r[3]), a, splat(row.base_y));
    dz = fma(splat(camera.r[6]), a, splat(row.base_z));
    length = sqrt(fma(dx, dx, fma(dy, dy, dz * dz)));
  }
};

DR_INLINE f32v light(const Scene& s, f32v nx, f32v ny, f32v nz) {
  const f32v cosine = fma(nx, splat(s.v[0]), fma(ny, splat(s.v[1]), nz * s.v[2]));
  return fma(max(cosine, f32v{}), splat(s.v[kSceneSunlight]), splat(s.v[kSceneAmbient]));
}

DR_INLINE Colour sky(const Scene& s, const Rays& d) {
  const f32v up = clamp01(-d.dz / d.length);
  const Colour clear = lerp(constant(s.v + kSceneHorizon), constant(s.v + kSceneZenith), sqrt(up));
  const f32v far = splat(800.f) / max(-d.dz / d.length, splat(0.03f)) / d.length;
  const f32v x = d.dx * far, y = d.dy * far;
  const f32v puff =
      fma(noise(x, y, 900, f32v{}, s.seed + 1), splat(0.65f), noise(x, y, 300, f32v{}, s.seed + 2) * 0.35f);
  const f32v cover = clamp01((puff + 0.1f) * 2.f) * clamp01(up * 5.f) * s.v[kSceneClouds];
  return lerp(clear, {splat(0.95f), splat(0.96f), splat(0.97f)}, cover);
}

// The ground at (x, y), t along the ray; label gets what covers most of the footprint.
DR_INLINE Colour ground(const Tables& tables, const Scene& s, const Camera& camera, const Rays& d, f32v t, f32v x,
                        f32v y, i32v& label) {
  // A pixel's footprint on the ground: long along the view, `across` at right angles to it.
  const f32v run = max(sqrt(fma(d.dx, d.dx, d.dy * d.dy)), splat(1e-6f));
  const f32v across = t * (1.f / camera.fx),
             along = t * t * run * (1.f / (camera.fy * (-camera.at[2] < 0.01f ? 0.01f : -camera.at[2])));
  const f32v ex = d.dx / run, ey = d.dy / run;

  const float per_cell = 1.f / s.v[kSceneCell];
  const i32v column = floor_i((x - s.v[kSceneOrigin]) * per_cell),
             row = floor_i((y - s.v[kSceneOrigin + 1]) * per_cell);
  const maskv inside = (column >= 0) & (column < s.columns) & (row >= 0) & (row < s.rows);
  i32v piece = splat_i(-1);
  if (some(inside)) {
    piece = gather(s.cells, inside ? row * s.columns + column : splat_i(0));
    piece = (inside & (piece >= 0) & (piece < tables.piece_count)) ? piece : splat_i(-1);
  }
  const maskv on_map = piece >= 0;

  const f32v grass = fma(noise(x, y, 0.5f, along, s.seed + 3), splat(0.25f), noise(x, y, 7, along, s.seed + 4) * 0.2f);
  Colour colour = scale(constant(s.v + kSceneTerrain), grass + 1.f);
  label = splat_i(int(Semantic::terrain));
  if (some(on_map)) {
    const float* p = tables.pieces;
    const i32v at = (on_map ? piece : splat_i(0)) * kPieceFields;
    const f32v px = x - gather(p, at), py = y - gather(p + 1, at), c = gather(p + 2, at), sn = gather(p + 3, at),
               k = gather(p + 4, at);
    // Along and across the arc: u and v in the frame of its start; offset = (1 - |(k u, 1 - k v)|) / k without the
    // cancellation; the angle is an arc tangent by its series, since a piece is short.
    const f32v u = fma(c, px, sn * py), v = fma(c, py, -sn * px);
    const f32v q = fma(k, fma(u, u, v * v), v * -2.f);
    const f32v offset = -q / (splat(1.f) + sqrt(max(fma(k, q, splat(1.f)), f32v{})));
    const f32v reach = u / max(splat(1.f) - k * v, splat(0.05f)), angle = reach * k, a2 = angle * angle;
    const f32v station = fma(reach, fma(a2, fma(a2, splat(0.2f), splat(-1.f / 3)), splat(1.f)), gather(p + 5, at));
    const f32v facing = abs(fma(c, ex, sn * ey)), crossing = abs(fma(c, ey, -sn * ex));
    const f32v spread = fma(crossing, along, facing * across), stretch = fma(facing, along, crossing * across);

    const float* profiles = tables.profiles;
    i32v profile = floor_i(gather(p + 6, at));
    profile = ((profile >= 0) & (profile < tables.profile_count)) ? profile : splat_i(0);
    profile *= kProfileFields;
    const f32v left = gather(profiles, profile), right = gather(profiles + 1, profile),
               edge = gather(profiles + 2, profile);
    const f32v half = (right - left) * 0.5f, from_middle = offset - (left + right) * 0.5f;
    const f32v shoulder = on_map ? coverage(from_middle, half + edge, spread) : f32v{};
    const f32v road = on_map ? coverage(from_middle, half, spread) : f32v{};
    const f32v rough =
        fma(noise(x, y, 0.25f, along, s.seed + 5), splat(0.12f), noise(x, y, 3, along, s.seed + 6) * 0.1f) + 1.f;
    colour = lerp(colour, scale({splat(0.45f), splat(0.42f), splat(0.36f)}, rough), shoulder);
    colour = lerp(
        colour, scale({splat(s.v[kSceneAsphalt]), splat(s.v[kSceneAsphalt]), splat(s.v[kSceneAsphalt])}, rough), road);

    const f32v dash = coverage(wrap(station, RayCast::kDashPeriod), splat(RayCast::kDash / 2),
                               min(stretch, splat(RayCast::kDashPeriod)));
    const f32v lines = gather(profiles + 3, profile);
    f32v paint = f32v{};
    for (int i = 0; i < kMaxLines; i++) {
      const maskv there = on_map & (lines > splat(float(i)));
      if (!some(there)) break;
      const i32v line = profile + (4 + 4 * i);
      const f32v style = gather(profiles + 2, line);
      const maskv dashed =
          (style == splat(float(LineStyle::white_dashed))) | (style == splat(float(LineStyle::yellow_dashed)));
      const maskv yellow =
          (style == splat(float(LineStyle::yellow))) | (style == splat(float(LineStyle::yellow_dashed)));
      f32v cover = coverage(offset - gather(profiles, line), gather(profiles + 1, line), spread);
      cover = (there & (style > f32v{})) ? cover * (dashed ? dash : splat(1.f)) : f32v{};
      colour = lerp(colour, {splat(0.88f), yellow ? splat(0.66f) : splat(0.88f), yellow ? splat(0.18f) : splat(0.86f)},
                    cover);
      paint += cover;
    }
    label = shoulder > splat(0.5f) ? splat_i(int(Semantic::shoulder)) : label;
    label = road > splat(0.5f) ? splat_i(int(Semantic::road)) : label;
    label = paint > splat(0.5f) ? splat_i(int(Semantic::marking)) : label;
  }
  return scale(colour, light(s, f32v{}, f32v{}, splat(-1.f)));
}

// ---- objects ----

// An object that some pixels can see.
struct Visible {
  const float* object;
  float ox, oy, oz;   // the camera in the object's frame
  float left, right;  // columns that it can touch: from left, before right; some of them in the image

  // Whether the object can touch these rows; a bound from its sphere, with a pixel to spare.
  DR_INLINE bool find(const float* o, const Camera& camera, int64_t row_begin, int64_t row_end, int64_t width) {
    const float x = o[1] - camera.at[0], y = o[2] - camera.at[1], z = o[3] - camera.at[2];
    const float radius = root(fma(o[6], o[6], fma(o[7], o[7], o[8] * o[8]))) * 1.01f + 0.01f;
    const float* r = camera.r;
    const float xc = fma(r[0], x, fma(r[3], y, r[6] * z)), yc = fma(r[1], x, fma(r[4], y, r[7] * z)),
                zc = fma(r[2], x, fma(r[5], y, r[8] * z));
    if (!(zc > -radius)) return false;
    left = 0, right = float(width);
    float top = 0, bottom = 1e9f;
    if (zc > radius + 0.1f) {
      const float near = 1 / (zc - radius), far = 1 / (zc + radius);
      left = camera.cx + camera.fx * lesser((xc - radius) * near, (xc - radius) * far) - 1;
      right = camera.cx + camera.fx * greater((xc + radius) * near, (xc + radius) * far) + 2;
      top = camera.cy + camera.fy * lesser((yc - radius) * near, (yc - radius) * far) - 1;
      bottom = camera.cy + camera.fy * greater((yc + radius) * near, (yc + radius) * far) + 2;
    }
    if (!(right > 0) || !(left < float(width)) || !(bottom > float(row_begin)) || !(top < float(row_end))) return false;
    left = greater(left, 0.f), right = lesser(right, float(width));
    object = o;
    ox = -fma(o[4], x, o[5] * y), oy = fma(o[5], x, -o[4] * y), oz = -z;
    return true;
  }

 private:
  DR_INLINE static float lesser(float a, float b) { return b < a ? b : a; }
  DR_INLINE static float greater(float a, float b) { return a < b ? b : a; }
  DR_INLINE static float root(float v) {
#if defined(DR_BACKEND)
    return sqrt(v);
#else
    return sqrt(splat(v))[0];
#endif
  }
};

// Where the rays meet the object nearer than t: t, label and colour are replaced.
DR_INLINE void cast(const Visible& o, const Scene& s, const Camera& camera, const Rays& d, f32v& t, i32v& label,
                    Colour& colour) {
  const float *v = o.object, c = v[4], sn = v[5];
  const float hx = v[6], hy = v[7], hz = v[8];
  const f32v dx = fma(d.dx, splat(c), d.dy * sn), dy = fma(d.dy, splat(c), d.dx * -sn), dz = d.dz;
  f32v hit, nx, ny, nz, shade = splat(1.f);
  maskv met;
  Colour own = constant(v + 9);
  if (v[0] == float(Semantic::vegetation)) {
    const float ix = 1 / hx, iy = 1 / hy, iz = 1 / hz;
    const float ox = o.ox * ix, oy = o.oy * iy, oz = o.oz * iz;
    const f32v ex = dx * ix, ey = dy * iy, ez = dz * iz;
    const f32v a = fma(ex, ex, fma(ey, ey, ez * ez)), b = fma(ex, splat(ox), fma(ey, splat(oy), ez * oz));
    const f32v root = fma(b, b, -a * (fma(ox, ox, fma(oy, oy, oz * oz)) - 1));
    met = root > f32v{};
    hit = (-b - sqrt(max(root, f32v{}))) / a;
    met &= (hit >= splat(RayCast::kNear)) & (hit < t);
    if (!some(met)) return;
    const f32v x = fma(hit, ex, splat(ox)), y = fma(hit, ey, splat(oy)), z = fma(hit, ez, splat(oz));
    const f32v mx = x * ix, my = y * iy, mz = z * iz;
    const f32v norm = max(sqrt(fma(mx, mx, fma(my, my, mz * mz))), splat(1e-12f));
    const f32v lx = mx / norm, ly = my / norm;
    nx = fma(lx, splat(c), ly * -sn), ny = fma(lx, splat(sn), ly * c), nz = mz / norm;
    const f32v footprint = hit * (1.f / camera.fx);
    const f32v along = fma(y, splat(0.7f * hy), x * hx), height = z * hz;
    shade = fma(noise(along, height, 0.6f, footprint, s.seed + 7), splat(0.45f), splat(1.f)) - clamp01(z) * 0.3f;
  } else {
    const f32v gx = splat(1.f) / dx, gy = splat(1.f) / dy, gz = splat(1.f) / dz;
    const f32v ax = (-hx - o.ox) * gx, bx = (hx - o.ox) * gx, ay = (-hy - o.oy) * gy, by = (hy - o.oy) * gy,
               az = (-hz - o.oz) * gz, bz = (hz - o.oz) * gz;
    const f32v nearest_x = min(ax, bx), nearest_y = min(ay, by), nearest_z = min(az, bz);
    hit = max(max(nearest_x, nearest_y), nearest_z);
    met = (hit <= min(min(max(ax, bx), max(ay, by)), max(az, bz))) & (hit >= splat(RayCast::kNear)) & (hit < t);
    if (!some(met)) return;
    const maskv side_x = hit == nearest_x, side_y = (!side_x) & (hit == nearest_y);
    const f32v sign_x = side_x ? (dx > f32v{} ? splat(-1.f) : splat(1.f)) : f32v{};
    const f32v sign_y = side_y ? (dy > f32v{} ? splat(-1.f) : splat(1.f)) : f32v{};
    nx = fma(sign_x, splat(c), sign_y * -sn), ny = fma(sign_x, splat(sn), sign_y * c);
    nz = (side_x | side_y) ? f32v{} : (dz > f32v{} ? splat(-1.f) : splat(1.f));
    const f32v along = side_x ? fma(hit, dy, splat(o.oy)) : fma(hit, dx, splat(o.ox));
    const f32v height = hz - fma(hit, dz, splat(o.oz)), footprint = hit * (1.f / camera.fx);
    const Colour glass = {splat(0.16f), splat(0.2f), splat(0.26f)};
    const f32v wall = (side_x | side_y) ? splat(1.f) : f32v{};
    if (v[0] == float(Semantic::building) && v[12] > 0) {
      const float pitch = v[12];
      const f32v pane =
          coverage(wrap(along, pitch), splat(0.28f * pitch), min(footprint, splat(pitch))) *
          coverage(wrap(height - 0.5f * pitch, pitch), splat(0.25f * pitch), min(footprint, splat(pitch)));
      own = lerp(own, glass, pane * wall * 0.8f);
    } else if (v[0] == float(Semantic::vehicle)) {
      const float tall = 2 * hz;
      own = lerp(own, glass, coverage(height - 0.72f * tall, splat(0.17f * tall), footprint) * wall * 0.9f);
      shade -= coverage(height, splat(0.24f * tall), footprint) * wall * 0.7f;
    }
  }
  own = scale(own, shade * light(s, nx, ny, nz));
  t = met ? hit : t;
  label = met ? splat_i(int32_t(v[0])) : label;
  colour = {met ? own.r : colour.r, met ? own.g : colour.g, met ? own.b : colour.b};
}

// ---- a pixel ----

struct Seen {
  f32v t;
  i32v label;
  Colour colour;
};

// What is behind all objects: the ground, up to kFar, and the sky.
DR_INLINE Seen backdrop(const Tables& tables, const Scene& scene, const Camera& camera, const Rays& d) {
  Seen s;
  s.t = splat(-camera.at[2]) / d.dz;
  const maskv down = (d.dz > f32v{}) & (s.t > f32v{}) & (s.t < splat(RayCast::kFar));
  s.t = down ? s.t : splat(RayCast::kFar);
  s.label = splat_i(int(Semantic::sky));
  s.colour = Colour{};
  if (some(!down)) s.colour = sky(scene, d);
  if (some(down)) {
    i32v label;
    const Colour g = ground(tables, scene, camera, d, s.t, fma(s.t, d.dx, splat(camera.at[0])),
                            fma(s.t, d.dy, splat(camera.at[1])), label);
    s.colour = {down ? g.r : s.colour.r, down ? g.g : s.colour.g, down ? g.b : s.colour.b};
    s.label = down ? label : s.label;
  }
  return s;
}

// The image's values after all objects: depth, and three bytes.
struct Shown {
  f32v depth;
  i32v r, g, b;
};
DR_INLINE i32v to_byte(f32v v) { return to_int(fma(clamp01(v), splat(255.f), splat(0.5f))); }
DR_INLINE Shown show(const Scene& scene, const Rays& d, const Seen& s) {
  const maskv met = s.label != splat_i(int(Semantic::sky));
  const f32v haze = met ? splat(1.f) - exp(s.t * d.length * -scene.v[kSceneFog]) : f32v{};
  const Colour c = lerp(s.colour, constant(scene.v + kSceneHorizon), haze);
  return {met ? s.t : f32v{}, to_byte(c.r), to_byte(c.g), to_byte(c.b)};
}

}  // namespace ray_cast
}  // namespace dr::DR_ISA
