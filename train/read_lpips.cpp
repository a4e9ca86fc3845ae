#include "train/read_lpips.h"

#include "io/safetensors.h"

namespace dr {

Lpips read_lpips(Runtime& runtime, const std::string& path) {
  const SafeTensors file(path);
  const auto find = [&](const std::string& name) {
    const StoredArray* array = file.find(name);
    return array ? runtime.from(array->values<float>(), array->sizes()) : Tensor();
  };
  return Lpips(runtime, find, path);
}

}  // namespace dr
