// Group norm, scale and shift, SiLU and dropout in one pass each way.
#pragma once

#include <ATen/ATen.h>

#include "group_norm_math.h"

namespace iddpm {

// All float32; w and b are [C].
struct GroupNormParams {
  at::Tensor w, b;
  at::Tensor scale_shift;  // [N, 2 C], scale before shift, or undefined: both zero
  at::Tensor before;       // [C] or [N, C], or undefined: zero
};

// x in two parts: the channels of the first, and then those of the rest, if it is defined.
struct GroupNormPair {
  at::Tensor first, rest;
};

// y = f(u) m, u = (w xhat + b) (1 + scale) + shift, where xhat is x [N, C, H, W]
// plus `before`, normalised over each of `groups` groups of channels; f and m
// are the end's.
//
// Gradients flow to x and all parameters. For channels-last x it is one kernel,
// on the CPU in float32 and bfloat16, on a GPU in float16 too; anywhere else a
// composition of libtorch's operators, which tests use as the reference implementation. The CPU's
// kernel leaves dropout to philox_dropout, which draws many numbers at a time.
//
// If `same` is not NULL it becomes x, for what else wants x: the gradient from there
// is then added to y's by the kernel, and not by an operator of its own.
at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const GroupNormParams &params, double eps,
                           const GroupNormEnd &end, at::Tensor *same = nullptr);

// The same of x in two parts, which `same` becomes in one. On a GPU the kernel
// joins them, and takes their gradients apart.
at::Tensor group_norm_silu_joined(const GroupNormPair &x, int64_t groups, const GroupNormParams &params, double eps,
                                  const GroupNormEnd &end, at::Tensor *same);

// The arguments that both ways of the kernels share.
struct GroupNormCall {
  at::Tensor x;  // in one part
  GroupNormParams params;
  GroupNormShape shape;
  GroupNormEnd end;

  GroupNormCall(const at::Tensor &x, int64_t groups, const GroupNormParams &params, const GroupNormEnd &end)
      : x(x), params(params), shape{x.size(0), x.size(1), x.size(2) * x.size(3), groups}, end(end) {}

  GroupNormAffine affine() const {
    auto data = [](const at::Tensor &t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    auto stride = [](const at::Tensor &t) { return t.defined() && t.dim() == 2 ? t.stride(0) : 0; };
    return {data(params.w), data(params.b), data(params.scale_shift), stride(params.scale_shift), data(params.before), stride(params.before)};
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
