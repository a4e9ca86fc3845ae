#include <filesystem>

#include "io/comma2k19.h"
#include "io/kitti.h"
#include "io/segment.h"

namespace dr {

DrivingLog open_log(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  CHECK(std::filesystem::exists(status), "{}: there is no such file or folder", path);
  if (std::filesystem::is_directory(status)) {
    if (is_kitti(path)) return read_kitti(path);
    if (is_comma2k19(path)) return read_comma2k19(path);
  } else if (is_safetensors(MappedFile(path).bytes())) {
    return read_segment(path);
  }
  fail(
      "{}: no driving log; accepted: a segment file, or a folder with image_02/ and poses_cam02.txt (KITTI) or "
      "global_pose/ (comma2k19)",
      path);
}

}  // namespace dr
