#include "kernels.h"

#include "../iddpm_cuda.h"

const void *gt_cuda_kernels(void) {
  using namespace iddpm::cuda;
  static const iddpm::CudaKernels table{
      philox_normal,       philox_uniform, philox_mask,      group_norm_supports,          group_norm_forward,
      group_norm_backward, residual_add,   adamw_supports,      adamw,                     diffusion_losses,
      diffusion_losses_backward, diffusion_q_sample, diffusion_reverse_step,
      nccl_load,           nccl_name,      nccl_join,        nccl_all_reduce,           nccl_wait,
      nccl_broadcast,      nccl_all_gather, nccl_leave,
  };
  return &table;
}
