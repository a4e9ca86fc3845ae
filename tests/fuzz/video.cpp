#include "io/video.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

using namespace dr;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = memfd_create("video", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != ssize_t(size)) return 0;
  fuzz::may_refuse([&] {
    VideoReader reader(path);
    Image image;
    double time_s = 0;
    for (int i = 0; i < 8 && reader.next(image, time_s); i++)
      if (image.pixels.size() != size_t(reader.info().width) * size_t(reader.info().height) * 3) __builtin_trap();
  });
  return 0;
}
