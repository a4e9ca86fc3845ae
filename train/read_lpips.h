#pragma once
// The weights of LPIPS from a file. bench/peers/lpips_weights.py writes one.

#include "model/lpips.h"

namespace dr {

// A .safetensors file with the tensors that model/lpips.h names, in f32 or what converts exactly; others are left
// alone. Throws, naming file and tensor, where one is missing or has another shape.
Lpips read_lpips(Runtime& runtime, const std::string& path);

}  // namespace dr
