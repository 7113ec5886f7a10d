// The training objective of the diffusion in one pass each way.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "diffusion_math.h"

namespace iddpm {

// The arguments that both ways of the kernels share: all float32, pictures
// contiguous in channels-last memory, and so is a row.
struct LossCall {
  at::Tensor out, target, x_start, rows;
  bool bound, through;

  LossShape shape() const {
    return {target.size(0), target.size(2) * target.size(3), target.size(1), out.size(1) != target.size(1)};
  }
  LossInputs inputs() const {
    return {out.const_data_ptr<float>(), target.const_data_ptr<float>(), x_start.const_data_ptr<float>(),
            rows.const_data_ptr<float>(), rows.stride(0), bound, through};
  }
};

// See gt_diffusion_losses: the squared error [N], and with `bound` the bound's
// term [N], of which out gets a gradient.
std::vector<at::Tensor> diffusion_losses(const LossCall &call);

}  // namespace iddpm
