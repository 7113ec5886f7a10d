// The interface between diffusion_steps.cc, which uses tensors, and diffusion_steps.cu,
// which nvcc compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/diffusion_steps_math.h"

namespace iddpm {

cudaError_t launch_q_sample(const ImageShape &s, const QSampleInputs &in, float *x_t, float *noise, cudaStream_t stream);

cudaError_t launch_reverse_step(const ImageShape &s, const ReverseInputs &in, float *previous, float *x_start,
                                cudaStream_t stream);

}  // namespace iddpm
