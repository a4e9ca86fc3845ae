// Writes the inputs that each fuzz target starts from: DIR/TARGET/*.

#include <cstdio>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io/segment.h"
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
