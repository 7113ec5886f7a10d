// AdamW and the moving averages of what it updates.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "adamw_math.h"

namespace iddpm {

using Tensors = std::vector<at::Tensor>;

// Each update sets it to rate tensors + (1 - rate) params.
struct Average {
  double rate;
  Tensors tensors;  // laid out as the parameters
};

// All lists are of one length, and the tensors of one parameter lie alike in memory.
// Where a parameter has a working weight in another dtype, its gradient may be in that
// dtype, too, and each update rewrites the working weight.
struct AdamWCall {
  Tensors params, grads, exp_avg, exp_avg_sq;
  Tensors copies;  // undefined where a parameter has none
  std::vector<Average> averages;
  at::Tensor step;  // counts the updates before
  AdamW options;
  at::Tensor lr;    // a float64 of one element that stands for options.lr; undefined: that
  at::Tensor skip;  // where it holds a 1, everything stays as it is; undefined: 0
  at::Tensor gain;  // a float32 of one element by which the gradients count; undefined: 1
};

// Takes one update of Loshchilov & Hutter 2019, algorithm 2, and then moves the
// averages.
//
// In float32, with copies in bfloat16, that is one pass over everything, on a GPU one
// launch; anything else is libtorch's fused update, a lerp per average and casts, which
// is what tests compare with.
void adamw_(const AdamWCall &call);

// The 2-norm over all elements of all tensors, [] float32 (float64 if one of them
// is), without waiting for the device. Sums of half-precision squares would
// overflow.
at::Tensor total_norm(const Tensors &tensors);

}  // namespace iddpm
