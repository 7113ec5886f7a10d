// Group norm + scale-shift + SiLU + dropout of tensors on a GPU.
#include "group_norm_kernels.h"
#include "kernels.h"
#include "types.h"

namespace iddpm::cuda {
namespace {

at::Tensor room(const at::Tensor &like, int64_t n) { return at::empty({n}, like.options()); }

}  // namespace

bool group_norm_takes(const at::Tensor &x) { return x.size(1) <= kMostNormChannels; }

void group_norm_forward(const GroupNormCall &call, double eps, const GroupNormSaved &saved, at::Tensor &y) {
  const GroupNormShape &s = call.shape;
  at::Tensor sums = room(saved.mean, s.tasks() * 2 * s.c);
  Target target(call.x);
  with_type(call.x, [&](auto zero) {
    using T = decltype(zero);
    C10_CUDA_CHECK(launch_group_norm_forward<T>(s, call.x.const_data_ptr<T>(), call.affine(), eps, call.end,
                                                sums.data_ptr<float>(), saved.written(), y.data_ptr<T>(), target.stream));
  });
}

void group_norm_backward(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                         const GroupNormGradients &out, at::Tensor &dx) {
  const GroupNormShape &s = call.shape;
  at::Tensor sums = room(saved.mean, s.tasks() * 2 * s.c), slopes = room(saved.mean, 2 * s.n * s.groups);
  Target target(call.x);
  with_type(call.x, [&](auto zero) {
    using T = decltype(zero);
    GroupNormFlow<T> flow{call.x.const_data_ptr<T>(), dy.const_data_ptr<T>(), more.defined() ? more.const_data_ptr<T>() : nullptr,
                          dx.data_ptr<T>()};
    C10_CUDA_CHECK(launch_group_norm_backward<T>(s, flow, call.affine(), saved.read(), call.end, sums.data_ptr<float>(),
                                                 slopes.data_ptr<float>(), out, target.stream));
  });
}

}  // namespace iddpm::cuda
