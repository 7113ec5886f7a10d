// Group norm, scale and shift, and SiLU in one pass each way.
#pragma once

#include <ATen/ATen.h>

#include "group_norm_math.h"

namespace iddpm {

// y = f(u), u = (w xhat + b) (1 + scale) + shift, where xhat is x [N, C, H, W]
// normalised over each of `groups` groups of channels, and f is SiLU if `silu`
// is set, else the identity. scale_shift is [N, 2 C], scale before shift, or
// undefined (both zero). w and b are [C]; all but x are float32.
//
// Gradients flow to x, w, b and scale_shift. For channels-last x it is one
// kernel, on the CPU in float32 and bfloat16, on a GPU in half precision too;
// anywhere else a composition of libtorch's operators, which tests use as its
// twin.
at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const at::Tensor &w, const at::Tensor &b,
                           const at::Tensor &scale_shift, double eps, bool silu);

// The arguments that both ways of the kernels share.
struct GroupNormCall {
  at::Tensor x, w, b, scale_shift;
  GroupNormShape shape;
  bool silu;

  GroupNormCall(const at::Tensor &x, int64_t groups, const at::Tensor &w, const at::Tensor &b,
                const at::Tensor &scale_shift, bool silu)
      : x(x), w(w), b(b), scale_shift(scale_shift),
        shape{x.size(0), x.size(1), x.size(2) * x.size(3), groups}, silu(silu) {}

  GroupNormAffine affine() const {
    return {w.const_data_ptr<float>(), b.const_data_ptr<float>(),
            scale_shift.defined() ? scale_shift.const_data_ptr<float>() : nullptr};
  }
};

}  // namespace iddpm
