// Functions shared by CPU and CUDA kernels.
#pragma once

#if defined(__CUDACC__)
#define IDDPM_HD __host__ __device__ __forceinline__
#else
#define IDDPM_HD inline __attribute__((always_inline))
#endif

// a b, rounded on its own and not contracted into an FMA. For the CPU, files that use it
// are compiled with -ffp-contract=off.
IDDPM_HD float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
