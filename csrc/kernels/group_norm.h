// Group norm, scale and shift, SiLU and dropout, fused in the forward and the backward pass.
#pragma once

#include <ATen/ATen.h>

#include "group_norm_math.h"

namespace iddpm {

// All float32; w and b are [C].
struct GroupNormParams {
  at::Tensor w, b;
  at::Tensor scale_shift;  // [N, 2 C], scale before shift, or undefined: both zero
  at::Tensor input_bias;   // [C] or [N, C], or undefined: zero
};

// x in two parts to be concatenated along the channels: first, and rest unless it is undefined.
struct GroupNormPair {
  at::Tensor first, rest;
};

// y = f(u) m, u = (w xhat + b) (1 + scale) + shift, where xhat is x [N, C, H, W]
// plus input_bias, normalised over each of `groups` groups of channels; `end` defines f
// and m.
//
// Gradients flow to x and all parameters. For channels-last x it is one kernel, on the
// CPU in float32 and bfloat16, on a GPU in float16 too; otherwise it is a composition of
// libtorch's operators, which is the reference implementation in tests. The CPU kernel
// leaves dropout to philox_dropout, which draws many numbers at a time.
//
// If `skip` is not NULL it is set to x, for a skip connection: the backward kernel then
// adds its gradient to that of y, without another operator.
at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const GroupNormParams &params, double eps,
                           const GroupNormActivation &end, at::Tensor *skip = nullptr);

// The same for the concatenation of two tensors, to which `skip` is set. On a GPU the
// kernels concatenate x and split its gradient.
at::Tensor group_norm_silu_concat(const GroupNormPair &x, int64_t groups, const GroupNormParams &params, double eps,
                                  const GroupNormActivation &end, at::Tensor *skip);

// The arguments of the forward and the backward kernels.
struct GroupNormCall {
  at::Tensor x;  // concatenated
  GroupNormParams params;
  GroupNormShape shape;
  GroupNormActivation end;

  GroupNormCall(const at::Tensor &x, int64_t groups, const GroupNormParams &params, const GroupNormActivation &end)
      : x(x), params(params), shape{x.size(0), x.size(1), x.size(2) * x.size(3), groups}, end(end) {}

  GroupNormAffine affine() const {
    auto data = [](const at::Tensor &t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    auto stride = [](const at::Tensor &t) { return t.defined() && t.dim() == 2 ? t.stride(0) : 0; };
    return {data(params.w), data(params.b), data(params.scale_shift), stride(params.scale_shift), data(params.input_bias), stride(params.input_bias)};
  }
};

// GroupNormMoments in tensors.
struct GroupNormSaved {
  at::Tensor mean, rstd, channel_mean, line;

  GroupNormSaved(const GroupNormShape &s, const at::TensorOptions &options)
      : mean(at::empty({s.n, s.groups}, options)),
        rstd(at::empty_like(mean)),
        channel_mean(at::empty({s.n, s.c}, options)),
        line(at::empty({s.n, 2, s.c}, options)) {}
  GroupNormSaved(const at::Tensor &mean, const at::Tensor &rstd, const at::Tensor &channel_mean, const at::Tensor &line)
      : mean(mean), rstd(rstd), channel_mean(channel_mean), line(line) {}

  GroupNormMoments<float> written() const {
    return {mean.data_ptr<float>(), rstd.data_ptr<float>(), channel_mean.data_ptr<float>(), line.data_ptr<float>()};
  }
  GroupNormMoments<const float> read() const {
    return {mean.const_data_ptr<float>(), rstd.const_data_ptr<float>(), channel_mean.const_data_ptr<float>(), line.const_data_ptr<float>()};
  }
};

}  // namespace iddpm
