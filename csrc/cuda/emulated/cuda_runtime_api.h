// The part of CUDA's API that .cu files use, on the CPU: see ../launch.h.
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
// Blocks run one after another, so shared memory can be static.
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

typedef struct emulated_stream *cudaStream_t;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulated {

// Runs a kernel: the threads of a block in turn, each to the next barrier. It aborts if
// some threads wait at a barrier while others have ended.
cudaError_t run(dim3 grid, dim3 block, const std::function<void()> &kernel);

void barrier();

// Runs blocks, and the threads of a block, from the last to the first. A missing barrier
// shows in one of both orders: in one of them the reading thread runs before the writing
// one.
void set_backward(bool on);

}  // namespace emulated

inline void __syncthreads() { emulated::barrier(); }

// A GPU's versions are less accurate.
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
