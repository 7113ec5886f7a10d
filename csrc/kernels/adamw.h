// AdamW and the moving averages of what it updates.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace iddpm {

using Tensors = std::vector<at::Tensor>;

struct AdamW {
  double lr, beta1, beta2, weight_decay, eps;
};

// Each update sets it to rate tensors + (1 - rate) params.
struct Average {
  double rate;
  Tensors tensors;  // laid out as the parameters
};

// Takes one update of Loshchilov & Hutter 2019, algorithm 2, and then moves the
// averages. step counts the updates before; where skip (undefined: 0) holds a 1,
// parameters and moments stay as they are. All lists are of one length, and the
// tensors of one parameter lie alike in memory.
//
// Float32 on the CPU is one pass over everything; anything else libtorch's fused
// update and a lerp per average, which is what tests compare with.
void adamw_(const Tensors &params, const Tensors &grads, const Tensors &exp_avg, const Tensors &exp_avg_sq,
            const std::vector<Average> &averages, const at::Tensor &step, const AdamW &o, const at::Tensor &skip);

// The 2-norm over all elements of all tensors, [] float32 (float64 if one of them
// is), without waiting for the device. Sums of half-precision squares would
// overflow.
at::Tensor total_norm(const Tensors &tensors);

}  // namespace iddpm
