// The arrays of a segment of comma2k19, one behind the other: each begins at the next magic number.

#include "io/comma2k19.h"

#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::TemporaryFolder folder;
  static const std::string speed = "/processed_log/CAN/speed", steering = "/processed_log/CAN/steering_angle";
  const std::string names[] = {"/global_pose/frame_times", "/global_pose/frame_positions", "/global_pose/frame_orientations",
                               "/global_pose/frame_velocities", speed + "/t", speed + "/value", steering + "/t", steering + "/value"};
  std::string_view bytes = fuzz::text_of(data, size);
  for (const std::string& name : names) {
    const std::string path = folder.path + name, parent = std::filesystem::path(path).parent_path();
    if (bytes.empty()) {
      std::filesystem::remove_all(name.ends_with("/t") ? parent : path);
      continue;
    }
    std::filesystem::create_directories(parent);
    const size_t next = bytes.find("\x93NUMPY", 1);
    fuzz::overwrite(path, bytes.substr(0, next));
    bytes = next == bytes.npos ? std::string_view() : bytes.substr(next);
  }
  fuzz::may_refuse([&] {
    const Comma2k19Log log = read_comma2k19(folder.path);
    if (log.actions.size() != log.poses.size() || log.velocity_mps.size() != log.poses.size()) __builtin_trap();
    log.pose_at(0.5);
  });
  return 0;
}
