#include <gtest/gtest.h>

#include <cmath>

#include "sim/random.h"
#include "sim/road/road.h"

namespace dr::sim {
namespace {

TEST(ReferenceLine, AnArcIsACircle) {
  ReferenceLine line;
  line.append_line(10);
  line.append_arc(50, 0.02);  // radius 50 m, to the right
  for (double s = 10; s <= 60; s += 0.37) {
    const double turned = (s - 10) * 0.02;
    const LinePoint p = line.at(s);
    EXPECT_NEAR(p.at.x, 10 + 50 * std::sin(turned), 1e-4);
    EXPECT_NEAR(p.at.y, 50 * (1 - std::cos(turned)), 1e-4) << "y is positive to the right";
    EXPECT_NEAR(p.heading_rad, turned, 1e-12);
  }
  EXPECT_NEAR(line.at(70).at.x, line.at(60).at.x + 10 * std::cos(1.0), 1e-5) << "it goes on straight past its end";
}

TEST(ReferenceLine, AClothoidIsTheIntegralOfItsHeading) {
  ReferenceLine line;
  line.append(30, 0, -1.0 / 40);
  double x = 0, y = 0;
  const int steps = 300000;
  for (int i = 0; i < steps; i++) {
    const double s = 30.0 * (i + 0.5) / steps, heading = -0.5 * s * s / (30 * 40);
    x += std::cos(heading) * 30 / steps, y += std::sin(heading) * 30 / steps;
  }
  EXPECT_NEAR(line.at(30).at.x, x, 1e-5);
  EXPECT_NEAR(line.at(30).at.y, y, 1e-5);
  EXPECT_NEAR(line.at(15).curvature, -1.0 / 80, 1e-12);
}

TEST(ReferenceLine, ProjectionInvertsTheRoad) {
  const Road road = make_road({}, 3);
  Random random(1, RandomUse::schedule);
  for (int i = 0; i < 500; i++) {
    const double s = random.uniform(0, road.line.length_m()), offset = random.uniform(-6, 6);
    const LinePoint p = road.line.at(s);
    const LinePosition found = road.line.project(p.at + offset * right_of(direction(p.heading_rad)), s + random.uniform(-20, 20));
    EXPECT_NEAR(found.station_m, s, 2e-3);
    EXPECT_NEAR(found.offset_m, offset, 1e-3);
  }
}

TEST(ReferenceLine, RefusesWhatIsNoRoad) {
  ReferenceLine line;
  EXPECT_THROW(line.append(0, 0, 0), Error);
  EXPECT_THROW(line.append(-1, 0, 0), Error);
  EXPECT_THROW(line.append(10, 0, 2), Error);
  EXPECT_THROW(line.append(std::nan(""), 0, 0), Error);
}

TEST(ProceduralRoad, IsAPureFunctionOfItsSeed) {
  const Road a = make_road({}, 7), b = make_road({}, 7), c = make_road({}, 8);
  EXPECT_EQ(a.line.length_m(), b.line.length_m());
  EXPECT_EQ(a.line.at(500).at.x, b.line.at(500).at.x);
  EXPECT_NE(a.line.at(500).at.x, c.line.at(500).at.x);
}

TEST(ProceduralRoad, KeepsToItsStyleAndOffItself) {
  for (uint64_t seed = 1; seed <= 40; seed++) {
    const RoadStyle style;
    const Road road = make_road(style, seed);
    ASSERT_GE(road.line.length_m(), style.length_m);
    std::vector<Vec2> points;
    double sharpest = 0, left = 0, right = 0, last = 0;
    for (double s = 0; s <= road.line.length_m(); s += 1) {
      const LinePoint p = road.line.at(s);
      points.push_back(p.at);
      sharpest = std::max(sharpest, std::fabs(p.curvature));
      EXPECT_LT(std::fabs(p.curvature - last), 0.012) << "curvature is continuous";
      last = p.curvature;
      left = std::min(left, p.curvature), right = std::max(right, p.curvature);
    }
    EXPECT_LE(sharpest, 1 / style.radius_min_m + 1e-9);
    EXPECT_LT(left, 0) << seed;
    EXPECT_GT(right, 0) << seed;
    double nearest = 1e9;
    for (size_t i = 0; i < points.size(); i += 3)
      for (size_t j = 0; j + 160 < i; j += 3) nearest = std::min(nearest, std::hypot(points[i].x - points[j].x, points[i].y - points[j].y));
    EXPECT_GT(nearest, 35) << seed;
  }
}

TEST(Road, MarksLieBetweenItsLanes) {
  Road road;
  road.oncoming = 1, road.forward = 2;
  const std::vector<RoadMark> marks = road.marks();
  ASSERT_EQ(marks.size(), 4u);
  EXPECT_EQ(marks[0].style, LineStyle::white);
  EXPECT_EQ(marks[1].style, LineStyle::yellow) << "between the two directions";
  EXPECT_EQ(marks[1].offset_m, 0);
  EXPECT_EQ(marks[2].style, LineStyle::white_dashed);
  EXPECT_EQ(marks[2].offset_m, 3.5);
  EXPECT_EQ(road.lane_centre_m(1), 5.25) << "traffic keeps right";
}

}  // namespace
}  // namespace dr::sim
