// A thread per quad: four consecutive elements of a sample, for which one call of philox4
// draws.
#pragma once

#include <cuda_runtime.h>

#include "launch.h"
#include "pack.h"
#include "philox_kernels.h"

namespace iddpm {

// Calls f(n, q, count) for elements 4 q to 4 q + count - 1 of every row n.
template <class F>
__global__ void for_each_quad(PhiloxShape shape, F f) {
  int64_t quads = (shape.row + 3) / 4;
  int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < shape.samples * quads; i += stride) {
    int64_t q = i % quads, rest = shape.row - 4 * q;
    f(i / quads, q, rest < 4 ? static_cast<int>(rest) : 4);
  }
}

template <class F>
cudaError_t launch_quads(PhiloxShape shape, cudaStream_t stream, F f) {
  constexpr int64_t kThreads = 256, kBlocks = 1 << 16;
  int64_t quads = shape.samples * ((shape.row + 3) / 4);
  if (quads == 0) return cudaSuccess;
  int64_t blocks = (quads + kThreads - 1) / kThreads;
  dim3 grid(static_cast<unsigned>(blocks < kBlocks ? blocks : kBlocks));
  return launch(for_each_quad<F>, grid, dim3(kThreads), stream, shape, f);
}

// Load and store a quad, with one access if all quads are whole and aligned.
template <bool kWhole>
__device__ void load_quad(const float *p, int count, float *v) {
  if constexpr (kWhole) load<float, 4>(p, v);
  else for (int k = 0; k < 4; ++k) v[k] = k < count ? p[k] : 0.0f;
}

template <bool kWhole>
__device__ void store_quad(float *p, int count, const float *v) {
  if constexpr (kWhole) store<float, 4>(p, v);
  else for (int k = 0; k < count; ++k) p[k] = v[k];
}

}  // namespace iddpm
