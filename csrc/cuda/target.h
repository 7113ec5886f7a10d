#pragma once

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace iddpm::cuda {

// The launch target of kernels: the tensor's GPU and this thread's current stream on it.
struct Target {
  explicit Target(const at::Tensor &t)
      : guard(t.device()), stream(c10::cuda::getCurrentCUDAStream(t.device().index())) {}
  c10::cuda::CUDAGuard guard;
  cudaStream_t stream;
};

}  // namespace iddpm::cuda
