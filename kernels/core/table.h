#pragma once
// DR_TABLE double kTable[8] = {...}; in a header: a constant array that host and device code both read.

// A host's array is out of a device's reach, so there each file has its own.
#if defined(__CUDACC__) || defined(__HIPCC__)
#define DR_TABLE static __device__ constexpr
#else
#define DR_TABLE inline constexpr
#endif
