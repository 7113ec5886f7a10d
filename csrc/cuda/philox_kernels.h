// The interface between philox.cc, which uses tensors, and philox.cu, which nvcc compiles
// without libtorch's headers, an order of magnitude faster.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../kernels/philox.h"

namespace iddpm {

// `samples` rows of `row` elements each, contiguous in memory.
struct PhiloxShape {
  int64_t samples;
  int64_t row;
};

cudaError_t launch_philox_normal(float *out, PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream);
cudaError_t launch_philox_uniform(float *out, PhiloxShape shape, const PhiloxKey &key, cudaStream_t stream);

// Writes 0 if the uniform number is below drop, else keep, both as bits, so that one kernel
// serves every type of that size.
template <class Bits>
cudaError_t launch_philox_mask(Bits *out, Bits keep, float drop, PhiloxShape shape, const PhiloxKey &key,
                               cudaStream_t stream);

}  // namespace iddpm
