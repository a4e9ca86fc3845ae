// Writes the inputs that each fuzz target starts from: DIR/TARGET/*.

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "io/video.h"
#include "tests/io_drives.h"
#include "tests/io_samples.h"

using namespace dr;

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: seeds DIR\n"), 2;
  const std::string dir = argv[1];
  const auto folder = [&](const std::string& target) {
    create_folder(dir + "/" + target);
    return dir + "/" + target + "/";
  };

  std::vector<float> f = {1, -2.5f, 3e38f, 0, 5, 6};
  std::vector<uint8_t> u = {1, 2, 3};
  const NamedView x{"x", View(f.data(), DType::f32, {2, 3})}, y{"y", View(u.data(), DType::u8, {3})};
  const std::string safetensors = folder("safetensors");
  write_safetensors(safetensors + "two", std::vector<NamedView>{y, x}, {{"step", "12"}});
  write_safetensors(safetensors + "none", {});
  const std::string types = R"({"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"BOOL","shape":[],"data_offsets":[2,3]},)"
                            R"("i":{"dtype":"I64","shape":[1,1],"data_offsets":[3,11]},)"
                            R"("q":{"dtype":"F4","shape":[2],"data_offsets":[11,12]}})";
  const uint64_t n = types.size();
  write_file(safetensors + "types",
             std::string(reinterpret_cast<const char*>(&n), 8) + types + "\x01\x3c\x01 bytes 89");

  DrivingLog log;
  log.where = log.kind = "seed";
  log.camera = {2, 1, 1, 1, 0.5, 0, {}};
  log.frame_times_s = {0, 0.2};
  log.times_s = {0, 0.1, 0.2};
  log.poses.resize(3);
  log.actions.resize(3);
  write_segment(folder("segment") + "poses", log);
  log.frames = HostArray::from(std::vector<uint8_t>(12, 100), {2, 1, 2, 3});
  log.desire = HostArray::from(std::vector<uint8_t>(3), {3});
  log.notes = {{"map", "none"}};
  write_segment(folder("segment") + "frames", log);

  const std::string calibration = "fx 5.5\nfy 5.25\ncx 2.5\ncy 1.75\nwidth 6\nheight 4\n";
  const std::string poses = "1 0 0 0 0 1 0 0 0 0 1 0\n9.99e-1 0 4.47e-2 -1e-3 0 1 0 .5 -4.47e-2 0 9.99e-1 +1.25\n";
  const std::string right = "T_cam03_from_cam02 t = -0.53 0.002 -1e-5 (R = I)\n", zero(1, '\0');
  const std::string ego = "frame,unix_time_s,vel_fwd_mps,acc_fwd_mps2,yaw\r\n0,1317042934.12,13.2,-0.5,0.1\r\n1, 1317042934.22, 13, 0,-2\r\n";
  const std::string kitti = folder("kitti");
  write_file(kitti + "poses", calibration + zero + poses);
  write_file(kitti + "ego", calibration + right + zero + poses + zero + ego);

  const std::string comma = folder("comma2k19"), drive = dir + "/drive";
  DrivingLog turn = test::right_turn();
  turn.poses.resize(6), turn.times_s.resize(6);
  create_folder(drive);
  test::write_comma2k19(drive, turn);
  std::string all;
  for (const char* name : {"global_pose/frame_times", "global_pose/frame_positions", "global_pose/frame_orientations",
                           "global_pose/frame_velocities", "processed_log/CAN/speed/t", "processed_log/CAN/speed/value",
                           "processed_log/CAN/steering_angle/t", "processed_log/CAN/steering_angle/value"}) {
    all += read_file(drive + "/" + name, 1 << 16);
    if (all.size() > 1000) write_file(comma + std::to_string(all.size()), all);
  }
  std::filesystem::remove_all(drive);

  if (has_video())
    for (int side : {16, 48}) {
      VideoWriter video(folder("video") + std::to_string(side) + ".mp4", side, side, 5);
      Image frame{side, side, 3, std::vector<uint8_t>(size_t(side) * size_t(side) * 3)};
      for (int i = 0; i < 6; i++) {
        for (size_t k = 0; k < frame.pixels.size(); k++) frame.pixels[k] = uint8_t(k * k / 50 + size_t(i) * 9);
        video.add(frame);
      }
      video.finish();
    }

  const std::string npy = folder("npy");
  write_npy(npy + "f32", x.view);
  write_npy(npy + "u8", y.view);
  const std::string header = "{'descr': '<f2', 'fortran_order': True, 'shape': (2, 1), }\n";
  write_file(npy + "columns", std::string("\x93NUMPY\x02\x00", 8) + char(header.size()) + std::string(3, '\0') +
                                  header + "\x01\x02\x03\x04");

  const std::string image = folder("image");
  Image rgb{17, 9, 3, {}}, grey{9, 5, 1, {}};
  Image16 depth{9, 5, {}};
  for (int i = 0; i < 17 * 9 * 3; i++) rgb.pixels.push_back(uint8_t(i * i / 7));
  for (int i = 0; i < 45; i++) grey.pixels.push_back(uint8_t(i * 5)), depth.pixels.push_back(uint16_t(i * 1457));
  write_png(image + "rgb.png", rgb);
  write_png(image + "grey.png", grey);
  write_png(image + "depth.png", depth);
  write_jpeg(image + "rgb.jpg", rgb, 50);
  write_jpeg(image + "fine.jpg", rgb, 95);  // not subsampled
  write_file(image + "progressive.jpg", test::base64_decoded(test::kProgressiveJpeg));
  write_file(image + "interlaced.png", test::base64_decoded(test::kInterlacedPng));
  write_file(image + "alpha.png", test::base64_decoded(test::kAlphaPng));

  const std::string json = folder("json");
  write_file(json + "log", "{\"step\":1,\"loss\":0.5,\"losses\":{\"a\":[1,-2e3,true,null]}}\n{\"step\":2}\n");
  write_file(json + "text", R"(["\u00e9\ud83d\ude97\n", "", 18446744073709551615, -0.0])");

  const std::string config = folder("config");
  write_file(config + "all",
             "# note\nsteps = 1_000\nlr = [0.1, 2e-4]\nquiet = true\n[loss]\nalpha = 0x10\nkind = 'a'\n");
  write_file(config + "odd", "loss = { alpha = 1, kind = \"\"\"a\n\\u00e9\"\"\" }\nlr = 07:32:00\n[[steps]]\n");
}
