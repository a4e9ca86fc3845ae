#pragma once
// Plane geometry of the simulators. World axes x, y right of x, z down; metres, radians; headings and curvature positive
// to the right. State goes through canonical functions only, so that a drive has the same bits on every machine: an
// angle is rounded to f32 before its sine is taken, an error of at most 2.4e-7 rad below two turns.

#include "kernels/core/host_math.h"

namespace dr::sim {

inline constexpr double kPi = 3.14159265358979323846;

struct Vec2 {
  double x = 0, y = 0;
};
inline Vec2 operator+(Vec2 a, Vec2 b) { return {a.x + b.x, a.y + b.y}; }
inline Vec2 operator-(Vec2 a, Vec2 b) { return {a.x - b.x, a.y - b.y}; }
inline Vec2 operator*(double s, Vec2 a) { return {s * a.x, s * a.y}; }
inline double dot(Vec2 a, Vec2 b) { return a.x * b.x + a.y * b.y; }

// The unit vector of a heading, and the one to its right.
inline Vec2 direction(double heading_rad) {
  return {canonical::cos(float(heading_rad)), canonical::sin(float(heading_rad))};
}
inline Vec2 right_of(Vec2 d) { return {-d.y, d.x}; }

}  // namespace dr::sim
