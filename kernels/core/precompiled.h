// What nearly every file includes; the Makefile compiles it once. No file names this one, and each still includes what it
// uses.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/core/op.h"
