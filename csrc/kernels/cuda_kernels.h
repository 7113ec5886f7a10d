// The kernels of libiddpm_cuda.so. gotorch passes their table from that library to
// libiddpm.so, so that neither links the other.
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

// CUDA implementations of the functions in this folder. They launch on the tensor's GPU
// and on this thread's current stream.
struct CudaKernels {
  // Fill out, which is contiguous: float32, or any floating-point dtype for the mask.
  void (*philox_normal)(at::Tensor &out, const PhiloxKey &key);
  void (*philox_uniform)(at::Tensor &out, const PhiloxKey &key);
  void (*philox_mask)(at::Tensor &out, double drop, const PhiloxKey &key);

  // For channels-last tensors. supports: whether the kernels support this number of
  // channels. forward: computes y and saved, and, if parts are defined, x as their
  // concatenation. backward: computes dx, in as many parts, plus `more` (the gradient of
  // the skip connection) if that is defined, and the gradients of the parameters.
  bool (*group_norm_supports)(int64_t channels);
  void (*group_norm_forward)(const GroupNormCall &call, const GroupNormPair &parts, double eps, const GroupNormSaved &saved, at::Tensor &y);
  void (*group_norm_backward)(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                              const GroupNormGradients &out, GroupNormPair &dx);

  // y = x + h + b for channels-last tensors.
  void (*residual_add)(const at::Tensor &x, const at::Tensor &h, const at::Tensor &b, at::Tensor &y);

  // For float32 parameters. supports: whether the kernel supports this number of EMAs.
  bool (*adamw_supports)(const AdamWCall &call);
  void (*adamw)(const AdamWCall &call);

  // The losses [N], and the gradient of `out`. bound is undefined if it is not needed; in
  // the backward pass a loss is undefined if nothing depends on it.
  void (*diffusion_losses)(const LossCall &call, at::Tensor &mse, at::Tensor &bound);
  void (*diffusion_losses_backward)(const LossCall &call, const at::Tensor &mse, const at::Tensor &bound, at::Tensor &d_out);

  // Both results are contiguous in channels-last memory.
  void (*diffusion_q_sample)(const QSampleCall &call, at::Tensor &x_t, at::Tensor &noise);
  void (*diffusion_reverse_step)(const ReverseCall &call, at::Tensor &previous, at::Tensor &x_start);

  // NCCL. load fails if the library is missing. One process creates a unique id, and all
  // join its communicator. All-reduce and broadcast work in place. All-reduce runs on the
  // group's own stream; wait makes this thread's stream wait for it, after which the
  // results can be read and the tensors freed.
  void (*nccl_load)();
  std::string (*nccl_name)();
  NcclGroup *(*nccl_join)(const std::string &name, at::DeviceIndex device, int rank, int size);
  void (*nccl_all_reduce)(NcclGroup *group, const std::vector<at::Tensor> &list);
  void (*nccl_wait)(NcclGroup *group);
  void (*nccl_broadcast)(NcclGroup *group, const std::vector<at::Tensor> &list, int root);
  void (*nccl_all_gather)(NcclGroup *group, const at::Tensor &mine, at::Tensor &all);
  void (*nccl_leave)(NcclGroup *group);
};

// Throws if the library is not loaded.
const CudaKernels &cuda_kernels();

void set_cuda_kernels(const CudaKernels *kernels);

}  // namespace iddpm
