// The interface between group_norm.cc, which uses tensors, and group_norm.cu, which nvcc
// compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/group_norm_math.h"

namespace iddpm {

// Maximum number of channels: a sample's sums must fit into a block's shared memory.
constexpr int64_t kMaxNormChannels = 2048;

// T is float, c10::BFloat16 or c10::Half, const for inputs; all images are [n, pixels, c].

// An image whose channels from `split` on are in a second tensor; in one tensor if split
// is c.
template <class T>
struct GroupNormParts {
  T *first, *rest;
  int64_t split;
};

// The input, and the destination of its concatenation, or NULL.
template <class T>
struct GroupNormInput {
  GroupNormParts<const T> parts;
  T *concat;
};

// `sums` has tasks() * 2 * c elements.
template <class T>
cudaError_t launch_group_norm_forward(const GroupNormShape &s, const GroupNormInput<T> &x, const GroupNormAffine &affine, double eps,
                                      const GroupNormActivation &end, float *sums, const GroupNormMoments<float> &moments, T *y,
                                      cudaStream_t stream);

// The tensors of the backward pass: dx is the gradient of x through y, plus `more`, the
// gradient of the skip connection, which may be NULL.
template <class T>
struct GroupNormFlow {
  const T *x, *dy, *more;
  GroupNormParts<T> dx;
};

// `slopes` has 2 * n * c elements.
template <class T>
cudaError_t launch_group_norm_backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                                       const GroupNormMoments<const float> &moments, const GroupNormActivation &end, float *sums,
                                       float *slopes, const GroupNormGradients &out, cudaStream_t stream);

}  // namespace iddpm
