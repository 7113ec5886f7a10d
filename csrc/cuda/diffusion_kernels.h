// The interface between diffusion.cc, which uses tensors, and diffusion.cu, which nvcc
// compiles without libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/diffusion_math.h"

namespace iddpm {

// mse and bound are [n]; bound is NULL if the term is not needed.
cudaError_t launch_diffusion_losses(const ImageShape &s, const LossInputs &in, float *mse, float *bound, cudaStream_t stream);

cudaError_t launch_diffusion_losses_backward(const ImageShape &s, const LossInputs &in, const LossGradients &g, float *d_out,
                                             cudaStream_t stream);

}  // namespace iddpm
