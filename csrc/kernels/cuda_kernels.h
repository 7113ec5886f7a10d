// The kernels of libiddpm_cuda.so. gotorch hands them over once it has loaded
// that library, so neither library links the other.
#pragma once

#include <ATen/ATen.h>

#include "../iddpm.h"

namespace iddpm {

// What a tensor on a GPU is given to instead of the function of the same name in
// this folder. Everything goes to the tensor's GPU and to this thread's stream.
struct CudaKernels {
  // Fill out, float32, or for the mask any floating type, contiguous in memory.
  void (*philox_normal)(at::Tensor &out, const gt_philox_key &key);
  void (*philox_uniform)(at::Tensor &out, const gt_philox_key &key);
  void (*philox_mask)(at::Tensor &out, double drop, const gt_philox_key &key);
};

// Throws where the library is not loaded.
const CudaKernels &cuda_kernels();

void set_cuda_kernels(const CudaKernels *kernels);

}  // namespace iddpm
