#include "kernels/qkv_attention/composition.h"
