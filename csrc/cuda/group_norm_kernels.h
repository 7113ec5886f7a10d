// Between group_norm.cc, which knows tensors, and group_norm.cu, which nvcc
// compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/group_norm_math.h"

namespace iddpm {

// Channels that one sample may have: its sums lie in a block's shared memory.
constexpr int64_t kMostNormChannels = 2048;

// T is float, c10::BFloat16 or c10::Half, and const where it is read; all images
// are [n, pixels, c].

// An image of which the channels from `split` on are another tensor; whole where
// split is c.
template <class T>
struct GroupNormParts {
  T *first, *rest;
  int64_t split;
};

// What is normalised, and where it is put in one part, or NULL.
template <class T>
struct GroupNormInput {
  GroupNormParts<const T> parts;
  T *joined;
};

// `sums` is room for tasks() * 2 * c numbers.
template <class T>
cudaError_t launch_group_norm_forward(const GroupNormShape &s, const GroupNormInput<T> &x, const GroupNormAffine &affine, double eps,
                                      const GroupNormEnd &end, float *sums, const GroupNormMoments<float> &moments, T *y,
                                      cudaStream_t stream);

// The backward pass over images: dx is the gradient of x through y, plus `more`, the
// gradient from x's other uses, which may be NULL.
template <class T>
struct GroupNormFlow {
  const T *x, *dy, *more;
  GroupNormParts<T> dx;
};

// `slopes` is room for 2 * n * c numbers.
template <class T>
cudaError_t launch_group_norm_backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                                       const GroupNormMoments<const float> &moments, const GroupNormEnd &end, float *sums,
                                       float *slopes, const GroupNormGradients &out, cudaStream_t stream);

}  // namespace iddpm
