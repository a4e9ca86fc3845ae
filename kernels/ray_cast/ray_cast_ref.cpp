#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/ray_cast/ray_cast.h"

namespace dr {

namespace {

using Vec = std::array<double, 3>;

Vec operator+(const Vec& a, const Vec& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
Vec operator*(double s, const Vec& a) { return {s * a[0], s * a[1], s * a[2]}; }
double dot(const Vec& a, const Vec& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vec mix(const Vec& a, const Vec& b, double w) { return a + w * (b + -1.0 * a); }
double unit_clamp(double v) { return std::clamp(v, 0.0, 1.0); }

double lattice_value(int64_t ix, int64_t iy, uint32_t seed) {
  uint32_t h = uint32_t(ix) * 2376512323u + uint32_t(iy) * 3625334849u + seed * 3407524639u;
  for (auto [shift, factor] : {std::pair{16, 0x7feb352du}, std::pair{15, 0x846ca68bu}}) h = (h ^ (h >> shift)) * factor;
  return double((h ^ (h >> 16)) >> 8) / 8388608.0 - 1.0;
}

double value_noise(double x, double y, double cell, double footprint, uint32_t seed) {
  const double gx = x / cell, gy = y / cell, fx = std::floor(gx), fy = std::floor(gy);
  auto smooth = [](double f) { return f * f * (3 - 2 * f); };
  const double u = smooth(gx - fx), v = smooth(gy - fy);
  double sum = 0;
  for (int j = 0; j < 2; j++)
    for (int i = 0; i < 2; i++)
      sum += (i ? u : 1 - u) * (j ? v : 1 - v) * lattice_value(int64_t(fx) + i, int64_t(fy) + j, seed);
  return sum * unit_clamp(1 - footprint / cell);
}

double covered(double q, double half, double footprint) {
  const double f = std::max(footprint, 1e-3);
  const double low = std::max(std::fabs(q) - f / 2, -half), high = std::min(std::fabs(q) + f / 2, half);
  return high > low ? (high - low) / f : 0;
}

double periodic(double v, double period) { return v - period * std::floor(v / period + 0.5); }

// One pixel. `sure` becomes false where f32 could take another branch.
struct Pixel {
  const RayCast::In& in;
  int64_t camera;
  Vec at{}, d{};
  const double *scene, *pieces, *profiles, *objects;
  const int32_t* layout;
  double fx, fy;
  bool colour_sure = true, label_sure = true, depth_sure = true;
  Vec colour{};
  double depth = 0, depth_terms = 0;
  Semantic label = Semantic::sky;

  Pixel(const RayCast::In& in_, int64_t n, double row, double column) : in(in_), camera(n) {
    const double* c = in.camera.as<double>() + n * in.camera.stride(0);
    const int64_t e = in.scene_of.as<int32_t>()[n];
    at = {c[0], c[1], c[2]};
    const Vec p{(column - c[14]) / c[12], (row - c[15]) / c[13], 1};
    for (size_t i = 0; i < 3; i++) d[i] = dot({c[3 + 3 * i], c[4 + 3 * i], c[5 + 3 * i]}, p);
    fx = c[12], fy = c[13];
    scene = in.scene.as<double>() + e * kSceneFields;
    layout = in.layout.as<int32_t>() + e * kLayoutFields;
    pieces = in.pieces.as<double>(), profiles = in.profiles.as<double>();
    objects = in.objects.as<double>() + layout[kLayoutFirstObject] * kObjectFields;
  }

  uint32_t seed(int k) const { return uint32_t(layout[kLayoutSeed] + k); }
  void unsure() { colour_sure = label_sure = depth_sure = false; }
  double lit(const Vec& normal) const {
    return scene[kSceneAmbient] + scene[kSceneSunlight] * std::max(0.0, dot(normal, {scene[0], scene[1], scene[2]}));
  }
  Vec row3(const double* p) const { return {p[0], p[1], p[2]}; }

  void run() {
    const double length = std::sqrt(dot(d, d));
    double t = -at[2] / d[2];
    bool ground = d[2] > 0 && t > 0 && t < RayCast::kFar;
    if (std::fabs(d[2]) < 1e-5 || std::fabs(t - RayCast::kFar) < 1e-2 * RayCast::kFar) unsure();
    if (ground) {
      depth_terms = t * (8 * (std::fabs(d[0]) + std::fabs(d[1]) + 2) / std::fabs(d[2]) + 4);
      colour = ground_colour(t);
    } else {
      t = RayCast::kFar;
      colour = sky_colour(length);
    }
    double second = std::numeric_limits<double>::infinity();
    for (int i = 0; i < layout[kLayoutObjects]; i++) object(objects + i * kObjectFields, t, second);
    if (second - t < 1e-4 * t) unsure();
    if (label != Semantic::sky) {
      depth = t;
      colour = mix(colour, row3(scene + kSceneHorizon), 1 - std::exp(-scene[kSceneFog] * t * length));
    }
  }

  Vec sky_colour(double length) {
    const double up = unit_clamp(-d[2] / length);
    const double far = 800 / std::max(-d[2] / length, 0.03) / length;
    const double puff = 0.65 * value_noise(d[0] * far, d[1] * far, 900, 0, seed(1)) +
                        0.35 * value_noise(d[0] * far, d[1] * far, 300, 0, seed(2));
    const double cover = unit_clamp(2 * (puff + 0.1)) * unit_clamp(5 * up) * scene[kSceneClouds];
    return mix(mix(row3(scene + kSceneHorizon), row3(scene + kSceneZenith), std::sqrt(up)), {0.95, 0.96, 0.97}, cover);
  }

  Vec ground_colour(double t) {
    const double x = at[0] + t * d[0], y = at[1] + t * d[1], run = std::max(std::hypot(d[0], d[1]), 1e-6);
    const double across = t / fx, along = t * t * run / (fy * std::max(-at[2], 0.01));
    Vec c = (1 + 0.25 * value_noise(x, y, 0.5, along, seed(3)) + 0.2 * value_noise(x, y, 7, along, seed(4))) *
            row3(scene + kSceneTerrain);
    label = Semantic::terrain;
    const double ex = d[0] / run, ey = d[1] / run;
    const int64_t piece = piece_at(x, y, t);
    if (piece >= 0) {
      const double *p = pieces + piece * kPieceFields, *f = profiles + int64_t(p[6]) * kProfileFields;
      const double u = p[2] * (x - p[0]) + p[3] * (y - p[1]), v = p[2] * (y - p[1]) - p[3] * (x - p[0]);
      double offset = v, station = p[5] + u;
      if (p[4] != 0) {
        offset = (1 - std::hypot(p[4] * u, 1 - p[4] * v)) / p[4];
        const double reach = u / std::max(1 - p[4] * v, 0.05), angle = reach * p[4];
        station = p[5] + reach * (1 - angle * angle / 3 + std::pow(angle, 4) / 5);
      }
      const double facing = std::fabs(p[2] * ex + p[3] * ey), crossing = std::fabs(p[2] * ey - p[3] * ex);
      const double spread = crossing * along + facing * across, stretch = facing * along + crossing * across;
      const double half = (f[1] - f[0]) / 2, middle = offset - (f[0] + f[1]) / 2;
      const double shoulder = covered(middle, half + f[2], spread), road = covered(middle, half, spread);
      const double rough = 1 + 0.12 * value_noise(x, y, 0.25, along, seed(5)) + 0.1 * value_noise(x, y, 3, along, seed(6));
      c = mix(c, rough * Vec{0.45, 0.42, 0.36}, shoulder);
      c = mix(c, (rough * scene[kSceneAsphalt]) * Vec{1, 1, 1}, road);
      double paint = 0;
      for (int i = 0; i < std::min(kMaxLines, int(f[3])); i++) {
        const double* line = f + 4 + 4 * i;
        const auto style = LineStyle(int(line[2]));
        double cover = style == LineStyle::none ? 0 : covered(offset - line[0], line[1], spread);
        if (style == LineStyle::white_dashed || style == LineStyle::yellow_dashed)
          cover *= covered(periodic(station, RayCast::kDashPeriod), RayCast::kDash / 2.0,
                           std::min<double>(stretch, RayCast::kDashPeriod));
        const bool yellow = style == LineStyle::yellow || style == LineStyle::yellow_dashed;
        c = mix(c, yellow ? Vec{0.88, 0.66, 0.18} : Vec{0.88, 0.88, 0.86}, cover);
        paint += cover;
      }
      if (shoulder > 0.5) label = Semantic::shoulder;
      if (road > 0.5) label = Semantic::road;
      if (paint > 0.5) label = Semantic::marking;
      for (double part : {shoulder, road, paint})
        if (std::fabs(part - 0.5) < 2e-3) label_sure = false;
    }
    return lit({0, 0, -1}) * c;
  }

  // The piece of the cell at (x, y); unsure where the point lies so near to a cell's edge that f32 may look next door.
  int64_t piece_at(double x, double y, double t) {
    auto look = [&](double px, double py) -> int64_t {
      const double column = std::floor((px - scene[kSceneOrigin]) / scene[kSceneCell]),
                   row = std::floor((py - scene[kSceneOrigin + 1]) / scene[kSceneCell]);
      if (!(column >= 0 && column < layout[kLayoutColumns] && row >= 0 && row < layout[kLayoutRows])) return -1;
      return in.cells.as<int32_t>()[layout[kLayoutFirstCell] + int64_t(row) * layout[kLayoutColumns] + int64_t(column)];
    };
    const double slack = 1e-3 + 1e-4 * t;
    const int64_t here = look(x, y);
    for (double sx : {-slack, slack})
      for (double sy : {-slack, slack})
        if (look(x + sx, y + sy) != here) colour_sure = label_sure = false;
    return here;
  }

  void object(const double* o, double& t, double& second) {
    const Vec centre = at + -1.0 * Vec{o[1], o[2], o[3]}, h{o[6], o[7], o[8]};
    auto turn = [&](const Vec& v) { return Vec{o[4] * v[0] + o[5] * v[1], o[4] * v[1] - o[5] * v[0], v[2]}; };
    auto turn_back = [&](const Vec& v) { return Vec{o[4] * v[0] - o[5] * v[1], o[5] * v[0] + o[4] * v[1], v[2]}; };
    const Vec from = turn(centre), ray = turn(d);
    double hit = 0, error = 0;
    Vec normal{}, own{o[9], o[10], o[11]};
    bool sure = true;
    const auto kind = Semantic(int(o[0]));
    double shade = 1;
    if (kind == Semantic::vegetation) {
      Vec e, s;
      for (size_t i = 0; i < 3; i++) e[i] = ray[i] / h[i], s[i] = from[i] / h[i];
      const double a = dot(e, e), b = dot(e, s), c = dot(s, s) - 1, root = b * b - a * c;
      if (std::fabs(root) < 1e-3 * b * b) {  // grazing: a sphere's rim
        unsure_if_nearer((-b) / a, t);
        if (root < 0) return;
      }
      if (!(root > 0)) return;
      hit = (-b - std::sqrt(root)) / a;
      error = 40 * (b * b + std::fabs(a * c)) / std::sqrt(root) / a + 4 * hit;
      Vec p = s + hit * e, n;
      for (size_t i = 0; i < 3; i++) n[i] = p[i] / h[i];
      normal = turn_back((1 / std::sqrt(dot(n, n))) * n);
      shade = 1 + 0.45 * value_noise(p[0] * h[0] + 0.7 * p[1] * h[1], p[2] * h[2], 0.6, hit / fx, seed(7)) -
              0.3 * unit_clamp(p[2]);
    } else {
      double enter = -1e30, leave = 1e30, next = -1e30;
      size_t face = 0;
      for (size_t i = 0; i < 3; i++) {
        const double a = (-h[i] - from[i]) / ray[i], b = (h[i] - from[i]) / ray[i];
        const double low = std::min(a, b), high = std::max(a, b);
        if (low > enter) next = enter, enter = low, face = i;
        else next = std::max(next, low);
        leave = std::min(leave, high);
      }
      if (std::fabs(leave - enter) < 1e-3 * std::fabs(enter)) unsure_if_nearer(enter, t);
      if (!(enter <= leave)) return;
      if (enter - next < 1e-3 * enter) sure = false;  // an edge between two faces
      hit = enter;
      error = 12 * hit * (1 + (std::fabs(from[face]) + h[face]) / std::fabs(h[face] - std::fabs(from[face])) +
                          (std::fabs(d[0]) + std::fabs(d[1]) + 1) / std::fabs(ray[face]));
      Vec n{};
      n[face] = ray[face] > 0 ? -1 : 1;
      normal = turn_back(n);
      const Vec p = from + hit * ray;
      const double along = face == 0 ? p[1] : p[0], height = h[2] - p[2], footprint = hit / fx, wall = face < 2;
      const Vec glass{0.16, 0.2, 0.26};
      if (kind == Semantic::building && o[12] > 0) {
        const double f = std::min(footprint, o[12]);
        own = mix(own, glass, 0.8 * wall * covered(periodic(along, o[12]), 0.28 * o[12], f) *
                                  covered(periodic(height - o[12] / 2, o[12]), 0.25 * o[12], f));
      } else if (kind == Semantic::vehicle) {
        const double tall = 2 * h[2];
        own = mix(own, glass, 0.9 * wall * covered(height - 0.72 * tall, 0.17 * tall, footprint));
        shade -= 0.7 * wall * covered(height, 0.24 * tall, footprint);
      }
    }
    if (std::fabs(hit - RayCast::kNear) < 1e-3) unsure();
    if (hit < RayCast::kNear) return;
    if (hit >= t) {
      second = std::min(second, hit);
      return;
    }
    second = t, t = hit, label = kind, colour = (shade * lit(normal)) * own, depth_terms = error;
    colour_sure = label_sure = depth_sure = true;  // what lies behind no longer matters
    if (!sure) colour_sure = false;
  }

  void unsure_if_nearer(double hit, double t) {
    if (hit > 0 && hit < t * 1.001) edge = true;
  }
  bool edge = false;  // of an object that may or may not be in front
};

}  // namespace

void RayCast::reference(const In& in, const Out& out, const Out& bound) const {
  constexpr double kUndecided = std::numeric_limits<double>::infinity();
  for (int64_t n = 0; n < in.camera.size(0); n++)
    for (int64_t row = 0; row < height; row++)
      for (int64_t column = 0; column < width; column++) {
        Pixel p(in, n, double(row), double(column));
        p.run();
        const bool colour = p.colour_sure && !p.edge, label = p.label_sure && !p.edge, depth = p.depth_sure && !p.edge;
        for (int64_t k = 0; k < 3; k++) {
          // Two colours that differ by less than a unit may round to neighbours.
          out.rgb.at<uint8_t>(n, row, column, k) = uint8_t(255 * unit_clamp(p.colour[size_t(k)]) + 0.5);
          bound.rgb.at<double>(n, row, column, k) = colour ? 1 : kUndecided;
        }
        out.depth.at<double>(n, row, column) = p.depth;
        bound.depth.at<double>(n, row, column) = depth ? p.depth_terms : kUndecided;
        out.label.at<uint8_t>(n, row, column) = uint8_t(p.label);
        bound.label.at<double>(n, row, column) = label ? 0 : kUndecided;
      }
}

}  // namespace dr
