// Random numbers in tensors on a GPU.
#include "../kernels/philox.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstring>

#include "../iddpm_cuda.h"
#include "philox_kernels.h"

namespace iddpm {
namespace {

PhiloxShape shape_of(const at::Tensor &t) {
  int64_t samples = t.dim() == 0 ? 1 : t.size(0);
  return {samples, samples == 0 ? 0 : t.numel() / samples};
}

// Where the kernels go: the tensor's GPU, and this thread's stream on it.
struct Target {
  explicit Target(const at::Tensor &t)
      : guard(t.device()), stream(c10::cuda::getCurrentCUDAStream(t.device().index())) {}
  c10::cuda::CUDAGuard guard;
  cudaStream_t stream;
};

void fill_normal(at::Tensor &out, const gt_philox_key &key) {
  Target target(out);
  C10_CUDA_CHECK(launch_philox_normal(out.data_ptr<float>(), shape_of(out), key, target.stream));
}

void fill_uniform(at::Tensor &out, const gt_philox_key &key) {
  Target target(out);
  C10_CUDA_CHECK(launch_philox_uniform(out.data_ptr<float>(), shape_of(out), key, target.stream));
}

template <class T, class Bits>
void fill_mask_as(at::Tensor &out, double drop, const gt_philox_key &key) {
  static_assert(sizeof(T) == sizeof(Bits));
  T keep = static_cast<T>(1.0 / (1.0 - drop));
  Bits bits;
  std::memcpy(&bits, &keep, sizeof bits);
  Target target(out);
  C10_CUDA_CHECK(launch_philox_mask<Bits>(static_cast<Bits *>(out.data_ptr()), bits, static_cast<float>(drop),
                                          shape_of(out), key, target.stream));
}

void fill_mask(at::Tensor &out, double drop, const gt_philox_key &key) {
  switch (out.scalar_type()) {
    case at::kFloat: return fill_mask_as<float, uint32_t>(out, drop, key);
    case at::kBFloat16: return fill_mask_as<at::BFloat16, uint16_t>(out, drop, key);
    case at::kHalf: return fill_mask_as<at::Half, uint16_t>(out, drop, key);
    case at::kDouble: return fill_mask_as<double, uint64_t>(out, drop, key);
    default: TORCH_CHECK(false, "dropout of a ", out.scalar_type(), " tensor");
  }
}

}  // namespace
}  // namespace iddpm

const void *gt_cuda_philox(void) {
  static const iddpm::PhiloxCuda table{iddpm::fill_normal, iddpm::fill_uniform, iddpm::fill_mask};
  return &table;
}
