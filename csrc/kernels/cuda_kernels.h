// The kernels of libiddpm_cuda.so. gotorch hands them over once it has loaded
// that library, so neither library links the other.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "../iddpm.h"
#include "adamw.h"
#include "diffusion.h"
#include "diffusion_steps.h"
#include "group_norm.h"

namespace iddpm {

struct NcclGroup;

// What a tensor on a GPU is given to instead of the function of the same name in
// this folder. Everything goes to the tensor's GPU and to this thread's stream.
struct CudaKernels {
  // Fill out, float32, or for the mask any floating type, contiguous in memory.
  void (*philox_normal)(at::Tensor &out, const PhiloxKey &key);
  void (*philox_uniform)(at::Tensor &out, const PhiloxKey &key);
  void (*philox_mask)(at::Tensor &out, double drop, const PhiloxKey &key);

  // Of channels-last tensors: whether there are not too many channels; y, what the
  // backward pass needs, and x itself if parts are defined, which x is then concatenated
  // from; and dx, in as many parts, plus `more` if it is defined, and the gradients of the
  // parameters.
  bool (*group_norm_takes)(int64_t channels);
  void (*group_norm_forward)(const GroupNormCall &call, const GroupNormPair &parts, double eps, const GroupNormSaved &saved, at::Tensor &y);
  void (*group_norm_backward)(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                              const GroupNormGradients &out, GroupNormPair &dx);

  // y = x + h + b of channels-last tensors.
  void (*residual_add)(const at::Tensor &x, const at::Tensor &h, const at::Tensor &b, at::Tensor &y);

  // Of float32 parameters: whether there are not too many averages, and the update.
  bool (*adamw_takes)(const AdamWCall &call);
  void (*adamw)(const AdamWCall &call);

  // The losses [N], and the gradient of `out`; bound is undefined where it is not
  // needed, and in the backward pass either where nothing depends on it.
  void (*diffusion_losses)(const LossCall &call, at::Tensor &mse, at::Tensor &bound);
  void (*diffusion_losses_backward)(const LossCall &call, const at::Tensor &mse, const at::Tensor &bound, at::Tensor &d_out);

  // Both results are contiguous in channels-last memory.
  void (*diffusion_q_sample)(const QSampleCall &call, at::Tensor &x_t, at::Tensor &noise);
  void (*diffusion_reverse_step)(const ReverseCall &call, at::Tensor &previous, at::Tensor &x_start);

  // The GPUs of several processes. NCCL must be there in all of them; one makes a name,
  // and all join the group of that name. Sums and copies are made in place. Sums go to
  // a stream of the group's own: they are there, and their tensors may go, once this
  // thread's stream has been told to wait for all that went there.
  void (*nccl_load)();
  std::string (*nccl_name)();
  NcclGroup *(*nccl_join)(const std::string &name, at::DeviceIndex device, int rank, int size);
  void (*nccl_all_reduce)(NcclGroup *group, const std::vector<at::Tensor> &list);
  void (*nccl_wait)(NcclGroup *group);
  void (*nccl_broadcast)(NcclGroup *group, const std::vector<at::Tensor> &list, int root);
  void (*nccl_all_gather)(NcclGroup *group, const at::Tensor &mine, at::Tensor &all);
  void (*nccl_leave)(NcclGroup *group);
};

// Throws where the library is not loaded.
const CudaKernels &cuda_kernels();

void set_cuda_kernels(const CudaKernels *kernels);

}  // namespace iddpm
