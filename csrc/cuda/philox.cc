// Counter-based random numbers on a GPU: launches for tensors.
#include <cstring>

#include "kernels.h"
#include "philox_kernels.h"

namespace iddpm::cuda {
namespace {

PhiloxShape shape_of(const at::Tensor &t) {
  int64_t samples = t.dim() == 0 ? 1 : t.size(0);
  return {samples, samples == 0 ? 0 : t.numel() / samples};
}

template <class T, class Bits>
void fill_mask_as(at::Tensor &out, double drop, const PhiloxKey &key) {
  static_assert(sizeof(T) == sizeof(Bits));
  T keep = static_cast<T>(1.0 / (1.0 - drop));
  Bits bits;
  std::memcpy(&bits, &keep, sizeof bits);
  Target target(out);
  C10_CUDA_CHECK(launch_philox_mask<Bits>(static_cast<Bits *>(out.data_ptr()), bits, static_cast<float>(drop),
                                          shape_of(out), key, target.stream));
}

}  // namespace

void philox_mask(at::Tensor &out, double drop, const PhiloxKey &key) {
  switch (out.scalar_type()) {
    case at::kFloat: return fill_mask_as<float, uint32_t>(out, drop, key);
    case at::kBFloat16: return fill_mask_as<at::BFloat16, uint16_t>(out, drop, key);
    case at::kHalf: return fill_mask_as<at::Half, uint16_t>(out, drop, key);
    case at::kDouble: return fill_mask_as<double, uint64_t>(out, drop, key);
    default: TORCH_CHECK(false, "dropout of a ", out.scalar_type(), " tensor");
  }
}

void philox_normal(at::Tensor &out, const PhiloxKey &key) {
  Target target(out);
  C10_CUDA_CHECK(launch_philox_normal(out.data_ptr<float>(), shape_of(out), key, target.stream));
}

void philox_uniform(at::Tensor &out, const PhiloxKey &key) {
  Target target(out);
  C10_CUDA_CHECK(launch_philox_uniform(out.data_ptr<float>(), shape_of(out), key, target.stream));
}

}  // namespace iddpm::cuda
