// Launches of kernels. The .cu files use no tensors and launch kernels only through this
// file, so that a C++ compiler can build them against emulated/, which runs a kernel's
// threads on the CPU. That tests their arithmetic on machines without a GPU.
#pragma once

#include <cuda_runtime.h>

namespace iddpm {

#if defined(__CUDACC__)
// Unrolls the next loop n times.
#define IDDPM_PRAGMA(text) _Pragma(#text)
#define IDDPM_UNROLL(n) IDDPM_PRAGMA(unroll n)
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, A... args) {
  kernel<<<grid, block, 0, stream>>>(args...);
  return cudaGetLastError();
}
#else
#define IDDPM_UNROLL(n)
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t, A... args) {
  return emulated::run(grid, block, [&] { kernel(args...); });
}
#endif

}  // namespace iddpm
