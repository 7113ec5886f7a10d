#pragma once

#include <ATen/ATen.h>
#include <cuda_runtime_api.h>

#define C10_CUDA_CHECK(call) TORCH_CHECK((call) == cudaSuccess, "a launch was refused: ", #call)

namespace iddpm::cuda {

struct Target {
  explicit Target(const at::Tensor &t) { TORCH_CHECK(t.is_cpu(), "emulated kernels need CPU tensors"); }
  cudaStream_t stream = nullptr;
};

}  // namespace iddpm::cuda
