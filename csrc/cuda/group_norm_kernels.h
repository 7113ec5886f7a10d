// Between group_norm.cc, which knows tensors, and group_norm.cu, which nvcc
// compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/group_norm_math.h"

namespace iddpm {

// Channels that one sample may have: its sums lie in a block's shared memory.
constexpr int64_t kMostNormChannels = 2048;

// And where it has few pixels.
constexpr int64_t kMostSlabChannels = 1024;

// T is float, c10::BFloat16 or c10::Half; all pictures are [n, pixels, c].
// `sums` is room for tasks() * 2 * c numbers.
template <class T>
cudaError_t launch_group_norm_forward(const GroupNormShape &s, const T *x, const GroupNormAffine &affine, double eps,
                                      const GroupNormEnd &end, float *sums, const GroupNormMoments<float> &moments, T *y,
                                      cudaStream_t stream);

// The pictures of the way back: dx is what comes to x by y, and `more`, which may be
// NULL, what comes to it elsewhere.
template <class T>
struct GroupNormFlow {
  const T *x, *dy, *more;
  T *dx;
};

// `slopes` is room for 2 * n * groups numbers.
template <class T>
cudaError_t launch_group_norm_backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                                       const GroupNormMoments<const float> &moments, const GroupNormEnd &end, float *sums,
                                       float *slopes, const GroupNormGradients &out, cudaStream_t stream);

}  // namespace iddpm
