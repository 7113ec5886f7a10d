#include "cuda_kernels.h"

#include <atomic>

namespace iddpm {
namespace {

std::atomic<const CudaKernels *> loaded{nullptr};

}  // namespace

void set_cuda_kernels(const CudaKernels *kernels) { loaded.store(kernels); }

const CudaKernels &cuda_kernels() {
  const CudaKernels *kernels = loaded.load();
  TORCH_CHECK(kernels != nullptr, "libiddpm_cuda.so is not loaded");
  return *kernels;
}

}  // namespace iddpm

void gt_set_cuda_kernels(const void *kernels) {
  iddpm::set_cuda_kernels(static_cast<const iddpm::CudaKernels *>(kernels));
}
