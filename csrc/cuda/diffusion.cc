// The training objective on a GPU: launches for tensors.
#include "diffusion_kernels.h"
#include "kernels.h"

namespace iddpm::cuda {
namespace {

float *data(const at::Tensor &t) { return t.defined() ? t.data_ptr<float>() : nullptr; }

}  // namespace

void diffusion_losses(const LossCall &call, at::Tensor &mse, at::Tensor &bound) {
  Target target(call.out);
  C10_CUDA_CHECK(launch_diffusion_losses(call.shape(), call.inputs(), data(mse), data(bound), target.stream));
}

void diffusion_losses_backward(const LossCall &call, const at::Tensor &mse, const at::Tensor &bound, at::Tensor &d_out) {
  Target target(call.out);
  C10_CUDA_CHECK(launch_diffusion_losses_backward(call.shape(), call.inputs(), {data(mse), data(bound)}, data(d_out), target.stream));
}

}  // namespace iddpm::cuda
