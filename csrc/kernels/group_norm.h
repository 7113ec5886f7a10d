// Group norm, scale and shift, and SiLU in one pass each way.
#pragma once

#include <ATen/ATen.h>

namespace iddpm {

// y = f(u), u = (w xhat + b) (1 + scale) + shift, where xhat is x [N, C, H, W]
// normalised over each of `groups` groups of channels, and f is SiLU if `silu`
// is set, else the identity. scale_shift is [N, 2 C], scale before shift, or
// undefined (both zero). w and b are [C]; all but x are float32.
//
// Gradients flow to x, w, b and scale_shift. On the CPU, for channels-last
// float32 and bfloat16, it is one kernel; anywhere else a composition of
// libtorch's operators, which tests use as its twin.
at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const at::Tensor &w, const at::Tensor &b,
                           const at::Tensor &scale_shift, double eps, bool silu);

}  // namespace iddpm
