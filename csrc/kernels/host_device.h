// Functions that the CPU's kernels and the GPU's have in common.
#pragma once

#if defined(__CUDACC__)
#define IDDPM_HD __host__ __device__ __forceinline__
#else
#define IDDPM_HD inline __attribute__((always_inline))
#endif
