// AdamW and exponential moving averages (EMA) of the parameters.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "adamw_math.h"

namespace iddpm {

using Tensors = std::vector<at::Tensor>;

// Each update sets tensors to rate tensors + (1 - rate) params.
struct Ema {
  double rate;
  Tensors tensors;  // in the parameters' memory layouts
};

// All lists have one length, and the tensors of one parameter have one memory layout.
// A parameter may have a working weight in another dtype, which each update rewrites;
// the gradient may have that dtype, too.
struct AdamWCall {
  Tensors params, grads, exp_avg, exp_avg_sq;
  Tensors working;  // undefined if a parameter has no working weight
  std::vector<Ema> emas;
  at::Tensor step;  // number of updates before this one
  AdamW options;
  at::Tensor lr;          // float64, one element: replaces options.lr; undefined: options.lr
  at::Tensor skip;        // one element: 1 skips the update; undefined: 0
  at::Tensor grad_scale;  // float32, one element: factor of the gradients; undefined: 1
};

// Runs one update of Loshchilov & Hutter 2019, algorithm 2, and then updates the EMAs.
//
// For float32 parameters with bfloat16 working weights this is one pass over memory, on
// a GPU one launch. Anything else uses libtorch's fused update, a lerp per EMA and casts,
// which is the reference implementation in tests.
void adamw_(const AdamWCall &call);

// The 2-norm over all elements of all tensors, [] float32 (float64 if one of them is).
// The host does not wait for the device. Sums in half precision would overflow.
at::Tensor total_norm(const Tensors &tensors);

}  // namespace iddpm
