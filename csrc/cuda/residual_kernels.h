// The interface between residual.cc, which uses tensors, and residual.cu, which nvcc
// compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace iddpm {

// y = x + h + b over n pixels of c channels; T is float, c10::BFloat16 or c10::Half.
template <class T>
cudaError_t launch_residual_add(const T *x, const T *h, const float *b, T *y, int64_t n, int64_t c, cudaStream_t stream);

}  // namespace iddpm
