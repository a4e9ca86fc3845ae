// Frames of the built-in world, whose depth is exact, seen from elsewhere: beside what its renderer draws from there.

#include "sim/reprojection/level_road.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/image_to_float/image_to_float.h"
#include "runtime/tape.h"
#include "sim/drive.h"
#include "sim/reprojection/reprojection.h"
#include "tests/io_files.h"

namespace dr::sim {
namespace {

class ReprojectionTest : public testing::Test {
 protected:
  ReprojectionTest() : drive_(settings()), tables_(runtime_, {&drive_.scene()}) {
    const Camera& c = drive_.settings().camera;
    camera_ = {c.width, c.height, c.fx, c.fy, c.cx, c.cy, {}};
  }
  static DriveSettings settings() {
    DriveSettings s;
    s.seed = 3, s.seconds = 12;
    return s;
  }

  struct Frame {
    Tensor image, depth;
  };
  // From the drive's camera, moved; x forward, y right, yaw to the right.
  Frame draw(int frame, double x_m = 0, double y_m = 0, double yaw_rad = 0) {
    VehicleState s = drive_.log().states[size_t(frame) * kStepsPerFrame];
    const Vec2 forward = direction(s.heading_rad);
    s.at = s.at + x_m * forward + y_m * right_of(forward);
    s.heading_rad += yaw_rad;
    const auto row = drive_.settings().camera.row(s);
    const auto images = tables_.render(runtime_, camera_.height, camera_.width, {row.begin(), row.end()}, {0});
    return {evaluate(runtime_, ImageToFloat{}, images.rgb), images.depth};
  }
  Difference whole(const Tensor& a, const Tensor& b) {
    return difference(runtime_, a, b, runtime_.ones(DType::f32, {1, a.size(1), a.size(2)}));
  }

  Runtime runtime_{RuntimeOptions{.threads = 2}};
  Drive drive_;
  SceneTables tables_;
  CameraModel camera_;
};

TEST_F(ReprojectionTest, NoMotionIsTheFrameItself) {
  const Frame f = draw(10);
  const Reprojector r(runtime_, camera_);
  EXPECT_EQ(r.splatted(f.image, without_gaps(runtime_, f.depth, true), {}).image.floats(), f.image.floats());
  const auto picture = r.pictured(f.image, without_gaps(runtime_, f.depth, true), {});
  EXPECT_EQ(coverage(runtime_, picture.warp.mask), 1);
  EXPECT_LT(whole(picture.filled, f.image).mean_abs, 0.2) << "rays and their pixels are rounded";
}

// The picture from a camera that was moved is within 2.2 of 255 levels of what the renderer draws from there, holes
// included; from the camera moved the other way it is far off, and so is the frame as it was.
TEST_F(ReprojectionTest, OffsetsHaveTheSignsOfTheVehicleFrame) {
  const Reprojector r(runtime_, camera_);
  const struct {
    double x, y, yaw;
  } moves[] = {{0, 0.5, 0}, {0, -0.5, 0}, {0.8, 0, 0}, {-0.8, 0, 0}, {0, 0, 0.05}, {0, 0, -0.05}, {0.5, 0.4, -0.04}};
  for (const auto& m : moves) {
    Difference there, other, unmoved, points;
    for (int i : {5, 30, 55}) {
      const Frame f = draw(i);
      const Pose motion = pose_of_euler({m.x, m.y, 0}, {0, 0, m.yaw});
      const Tensor picture = r.pictured(f.image, without_gaps(runtime_, f.depth, true), motion).filled;
      const Tensor truth = draw(i, m.x, m.y, m.yaw).image;
      const auto sampled = r.sampled(truth, f.depth, motion);
      there.mean_abs += whole(picture, truth).mean_abs / 3;
      other.mean_abs += whole(picture, draw(i, -m.x, -m.y, -m.yaw).image).mean_abs / 3;
      unmoved.mean_abs += whole(f.image, truth).mean_abs / 3;
      points.mean_abs += difference(runtime_, sampled.image, f.image, sampled.mask).mean_abs / 3;
    }
    SCOPED_TRACE(format("x {}, y {}, yaw {}: there {:.2f}, other way {:.2f}, unmoved {:.2f}, sampled {:.2f}", m.x, m.y,
                        m.yaw, there.mean_abs, other.mean_abs, unmoved.mean_abs, points.mean_abs));
    EXPECT_LT(there.mean_abs, 2.2);
    EXPECT_LT(points.mean_abs, 2.2);
    EXPECT_GT(unmoved.mean_abs, 2 * there.mean_abs);
    EXPECT_GT(other.mean_abs, unmoved.mean_abs);
  }
}

// A wall 10 m ahead that fills the view: 0.5 m to the right is f / 20 pixels to the left, everywhere and exactly.
TEST_F(ReprojectionTest, AWallMovesByItsDisparity) {
  const CameraModel camera{64, 16, 40, 40, 31.5, 7.5, {}};
  std::vector<float> pixels;
  for (int i = 0; i < 16 * 64; i++)
    for (int c = 0; c < 3; c++) pixels.push_back(float(i % 64) / 64);
  const Tensor image = runtime_.from(pixels, {1, 16, 64, 3}),
               depth = runtime_.from(std::vector<float>(16 * 64, 10), {1, 16, 64});
  const auto right = Reprojector(runtime_, camera).pictured(image, depth, {{0, 0.5, 0}, {1, 0, 0, 0}});
  const std::vector<float> y = right.filled.floats(), mask = right.warp.mask.floats();
  for (size_t row = 0; row < 16; row++)
    for (size_t u = 0; u < 64; u++) {
      EXPECT_EQ(mask[row * 64 + u], u < 62 ? 1 : 0) << "column " << u;
      if (u < 62) {
        EXPECT_NEAR(y[(row * 64 + u) * 3], float(u + 2) / 64, 1e-5) << "column " << u;
      }
    }
}

// Where the moved camera sees nothing but ground, the picture moved over a level road is what the renderer draws there.
TEST_F(ReprojectionTest, ALevelRoadMovesWithTheVehicle) {
  CameraModel camera = camera_;
  camera.mount.at = {0, 0, -drive_.settings().camera.height_m}, camera.height_m = drive_.settings().camera.height_m;
  const Frame from = draw(10);
  const auto moved = [&](double x_m, double y_m, double yaw_rad) {
    return moved_on_level_road(runtime_, from.image, std::span(&camera, 1),
                               std::vector<Pose>{pose_of_euler({x_m, y_m, 0}, {0, 0, yaw_rad})})
        .image;
  };
  EXPECT_LT(whole(moved(0, 0, 0), from.image).mean_abs, 0.2);
  for (const auto& [x, y, yaw] : {std::array{2.0, 0.0, 0.0}, {0.0, 0.4, 0.0}, {1.5, -0.3, 0.03}, {0.0, 0.0, -0.05}}) {
    const Frame there = draw(10, x, y, yaw);
    std::vector<float> depth = there.depth.floats(), ground(depth.size());
    for (size_t i = 0; i < ground.size(); i++) {
      const double down = (double(i / size_t(camera.width)) - camera.cy) / camera.fy;
      const double expected = camera.height_m / std::max(down, 1e-3);
      ground[i] = expected < 30 && std::abs(double(depth[i]) - expected) < 0.01 * expected;
    }
    const Tensor mask = runtime_.from(ground, {1, camera.height, camera.width});
    EXPECT_GT(coverage(runtime_, mask), 0.2);
    const double right = difference(runtime_, moved(x, y, yaw), there.image, mask).mean_abs,
                 wrong = difference(runtime_, moved(-x, -y, -yaw), there.image, mask).mean_abs,
                 unmoved = difference(runtime_, from.image, there.image, mask).mean_abs;
    EXPECT_LT(right, 0.5 * unmoved) << x << ' ' << y << ' ' << yaw;
    EXPECT_LT(unmoved, wrong) << x << ' ' << y << ' ' << yaw;
  }
}

TEST_F(ReprojectionTest, ALevelRoadIsTheSameAloneAndAmongOthers) {
  CameraModel a = camera_, b = camera_;
  a.height_m = 1.2, b.height_m = 1.7, b.fx = 200;
  const Tensor one = draw(5).image, other = draw(9).image;
  const std::vector<Pose> motions = {pose_of_euler({2, 0.1, 0}, {0, 0, 0.02}), pose_of_euler({1, -0.2, 0}, {0.01, 0, 0})};
  std::vector<float> both = one.floats(), second = other.floats();
  both.insert(both.end(), second.begin(), second.end());
  const std::vector<CameraModel> cameras = {a, b};
  const Tensor images = runtime_.from(both, {2, a.height, a.width, 3});
  const Tensor together = moved_on_level_road(runtime_, images, cameras, motions).image;
  const Tensor alone = moved_on_level_road(runtime_, other, std::span(cameras).subspan(1), std::span(motions).subspan(1)).image;
  EXPECT_EQ(together.slice(0, 1, 1).clone().floats(), alone.floats());
  const auto refused = [&](const CameraModel& c) {
    return test::error_of([&] { moved_on_level_road(runtime_, one, std::span(&c, 1), std::span(motions).first(1)); });
  };
  EXPECT_TRUE(test::holds(refused(camera_), "height of a camera above the road is not known"));
  a.width = 100;
  EXPECT_TRUE(test::holds(refused(a), "from a camera of 100 x 128"));
  EXPECT_TRUE(test::holds(test::error_of([&] { moved_on_level_road(runtime_, images, cameras, std::span(motions).first(1)); }),
                          "2 cameras and 1 motions for 2 images"));
}

TEST_F(ReprojectionTest, GapsOfAPlaneAreFilledWithThePlane) {
  // A road 1.5 m below a camera with a horizon above the image: inverse depth is linear in the row.
  std::vector<float> full, sparse;
  for (int i = 0; i < 32 * 64; i++) {
    full.push_back(1.5f * 40 / float(i / 64 + 10));
    sparse.push_back((i / 64 + i % 64) % 2 ? full.back() : i % 3 ? 0 : -INFINITY);
  }
  const std::vector<float> filled = without_gaps(runtime_, runtime_.from(sparse, {1, 32, 64}), false).floats();
  for (size_t i = 0; i < full.size(); i++) {
    const float share = sparse[i] > 0 ? 1e-6f : 0.05f;
    EXPECT_NEAR(filled[i], full[i], share * full[i]) << "row " << i / 64;
  }
  EXPECT_EQ(without_gaps(runtime_, runtime_.from(std::vector<float>{3, 0}, {1, 1, 2}), true).floats(),
            (std::vector<float>{3, 1e4f}));
}

TEST_F(ReprojectionTest, DifferencesAreInLevelsWhereTheMaskIs) {
  const Tensor a = runtime_.from(std::vector<float>{0, 0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0}, {1, 2, 2, 3});
  const Tensor b =
      runtime_.from(std::vector<float>{2 / 255.f, 0, -2 / 255.f, 1, 1, 1, 1, 1, 1, 4 / 255.f, 0, 0}, {1, 2, 2, 3});
  const Tensor mask = runtime_.from(std::vector<float>{1, 0, 0, 1}, {1, 2, 2});
  const Difference d = difference(runtime_, a, b, mask);
  EXPECT_NEAR(d.mean_abs, (1 + 1 + 2) / 6., 1e-6);
  EXPECT_NEAR(d.mean_square, (1 + 1 + 4) / 6., 1e-6);
  EXPECT_EQ(coverage(runtime_, mask), 0.5);
  EXPECT_TRUE(std::isnan(difference(runtime_, a, b, runtime_.zeros(DType::f32, {1, 2, 2})).mean_abs));
  EXPECT_NEAR(psnr_db(1), 48.1308, 1e-3);
  EXPECT_NEAR(psnr_db(255 * 255), 0, 1e-6);
}

}  // namespace
}  // namespace dr::sim
