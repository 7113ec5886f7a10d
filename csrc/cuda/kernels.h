// The functions of the table CudaKernels.
#pragma once

#include "../kernels/cuda_kernels.h"

#if defined(IDDPM_EMULATED)
#include "emulated/target.h"
#else
#include "target.h"
#endif

namespace iddpm::cuda {

// philox.cc
void philox_normal(at::Tensor &out, const PhiloxKey &key);
void philox_uniform(at::Tensor &out, const PhiloxKey &key);
void philox_mask(at::Tensor &out, double drop, const PhiloxKey &key);

// group_norm.cc
bool group_norm_supports(int64_t channels);
void group_norm_forward(const GroupNormCall &call, const GroupNormPair &parts, double eps, const GroupNormSaved &saved, at::Tensor &y);
void group_norm_backward(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                         const GroupNormGradients &out, GroupNormPair &dx);

// adamw.cc
bool adamw_supports(const AdamWCall &call);
void adamw(const AdamWCall &call);

// diffusion.cc
void diffusion_losses(const LossCall &call, at::Tensor &mse, at::Tensor &bound);
void diffusion_losses_backward(const LossCall &call, const at::Tensor &mse, const at::Tensor &bound, at::Tensor &d_out);

// diffusion_steps.cc
void diffusion_q_sample(const QSampleCall &call, at::Tensor &x_t, at::Tensor &noise);
void diffusion_reverse_step(const ReverseCall &call, at::Tensor &previous, at::Tensor &x_start);

// residual.cc
void residual_add(const at::Tensor &x, const at::Tensor &h, const at::Tensor &b, at::Tensor &y);

// nccl.cc
void nccl_load();
std::string nccl_name();
NcclGroup *nccl_join(const std::string &name, at::DeviceIndex device, int rank, int size);
void nccl_all_reduce(NcclGroup *group, const std::vector<at::Tensor> &list);
void nccl_wait(NcclGroup *group);
void nccl_broadcast(NcclGroup *group, const std::vector<at::Tensor> &list, int root);
void nccl_all_gather(NcclGroup *group, const at::Tensor &mine, at::Tensor &all);
void nccl_leave(NcclGroup *group);

}  // namespace iddpm::cuda
