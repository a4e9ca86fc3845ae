// The three texts of a KITTI-style folder, one behind the other with a zero byte between; the images stay as they are.

#include "io/kitti.h"

#include "io/image.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;

namespace {

struct KittiFolder : fuzz::TemporaryFolder {
  KittiFolder() {
    for (const char* name : {"/image_02", "/image_03", "/depth_02"}) create_folder(path + name);
    for (const char* name : {"/image_02/0.png", "/image_02/1.png", "/image_03/0.png"})
      write_png(path + name, Image{6, 4, 3, std::vector<uint8_t>(72, 100)});
    write_png(path + "/depth_02/1.png", Image16{6, 4, std::vector<uint16_t>(24, 512)});
  }
};

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const KittiFolder folder;
  std::string_view text = fuzz::text_of(data, size);
  for (const char* name : {"/calib.txt", "/poses_cam02.txt", "/ego.csv"}) {
    const std::string path = folder.path + name;
    if (!text.data()) {
      std::filesystem::remove(path);
      continue;
    }
    const size_t end = text.find('\0');
    fuzz::overwrite(path, text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  fuzz::may_refuse([&] {
    const KittiLog log = read_kitti(folder.path);
    if (log.poses.size() != 2 || log.actions.size() != 2) __builtin_trap();
    log.pose_at(0.5);
  });
  return 0;
}
