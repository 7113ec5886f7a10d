// The functions of CudaKernels.
#pragma once

#include "../kernels/cuda_kernels.h"

#if defined(IDDPM_EMULATED)
#include "emulated/target.h"
#else
#include "target.h"
#endif

namespace iddpm::cuda {

// philox.cc
void philox_normal(at::Tensor &out, const gt_philox_key &key);
void philox_uniform(at::Tensor &out, const gt_philox_key &key);
void philox_mask(at::Tensor &out, double drop, const gt_philox_key &key);

}  // namespace iddpm::cuda
