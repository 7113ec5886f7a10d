// Steps of the diffusion process on a GPU: launches for tensors.
#include "diffusion_steps_kernels.h"
#include "kernels.h"

namespace iddpm::cuda {

void diffusion_q_sample(const QSampleCall &call, at::Tensor &x_t, at::Tensor &noise) {
  Target target(call.x_start);
  C10_CUDA_CHECK(launch_q_sample(call.shape(), call.inputs(), x_t.data_ptr<float>(), noise.data_ptr<float>(), target.stream));
}

void diffusion_reverse_step(const ReverseCall &call, at::Tensor &previous, at::Tensor &x_start) {
  Target target(call.x);
  C10_CUDA_CHECK(
      launch_reverse_step(call.shape(), call.inputs(), previous.data_ptr<float>(), x_start.data_ptr<float>(), target.stream));
}

}  // namespace iddpm::cuda
