// Group norm + scale-shift + SiLU + dropout on a GPU: launches for tensors.
#include "group_norm_kernels.h"
#include "kernels.h"
#include "types.h"

namespace iddpm::cuda {
namespace {

at::Tensor room(const at::Tensor &like, int64_t n) { return at::empty({n}, like.options()); }

template <class T>
GroupNormParts<const T> read(const at::Tensor &first, const at::Tensor &rest) {
  return {first.const_data_ptr<T>(), rest.defined() ? rest.const_data_ptr<T>() : nullptr, first.size(1)};
}

template <class T>
GroupNormParts<T> written(at::Tensor &first, at::Tensor &rest) {
  return {first.data_ptr<T>(), rest.defined() ? rest.data_ptr<T>() : nullptr, first.size(1)};
}

}  // namespace

bool group_norm_supports(int64_t channels) { return channels <= kMaxNormChannels; }

void group_norm_forward(const GroupNormCall &call, const GroupNormPair &parts, double eps, const GroupNormSaved &saved, at::Tensor &y) {
  const GroupNormShape &s = call.shape;
  at::Tensor sums = room(saved.mean, s.tasks() * 2 * s.c);
  Target target(call.x);
  with_type(call.x, [&](auto zero) {
    using T = decltype(zero);
    GroupNormInput<T> x{read<T>(call.x, {}), nullptr};
    if (parts.first.defined()) x = {read<T>(parts.first, parts.rest), call.x.data_ptr<T>()};
    C10_CUDA_CHECK(launch_group_norm_forward<T>(s, x, call.affine(), eps, call.end,
                                                sums.data_ptr<float>(), saved.written(), y.data_ptr<T>(), target.stream));
  });
}

void group_norm_backward(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                         const GroupNormGradients &out, GroupNormPair &dx) {
  const GroupNormShape &s = call.shape;
  at::Tensor sums = room(saved.mean, s.tasks() * 2 * s.c), slopes = room(saved.mean, 2 * s.n * s.c);
  Target target(call.x);
  with_type(call.x, [&](auto zero) {
    using T = decltype(zero);
    GroupNormFlow<T> flow{call.x.const_data_ptr<T>(), dy.const_data_ptr<T>(), more.defined() ? more.const_data_ptr<T>() : nullptr,
                          written<T>(dx.first, dx.rest)};
    C10_CUDA_CHECK(launch_group_norm_backward<T>(s, flow, call.affine(), saved.read(), call.end, sums.data_ptr<float>(),
                                                 slopes.data_ptr<float>(), out, target.stream));
  });
}

}  // namespace iddpm::cuda
