// What a .cu file needs of CUDA, on the CPU: see ../launch.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// Blocks run one after another, so a block's memory may be the function's.
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

typedef struct emulated_stream *cudaStream_t;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulated {

// Runs a kernel: the threads of a block in turn, each to the next barrier. It
// aborts where some wait at a barrier and others have ended.
cudaError_t run(dim3 grid, dim3 block, const std::function<void()> &kernel);

void barrier();

// Runs blocks, and the threads of a block, from the last to the first. Where a
// barrier is missing, one order or the other shows it: a thread that must see what
// another writes comes before that one in one of them.
void set_backward(bool on);

}  // namespace emulated

inline void __syncthreads() { emulated::barrier(); }

// The GPU's are less exact.
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
