// Matrix products and layers.
#include <ATen/core/Reduction.h>

#include "handle.h"
#include "kernels/attention.h"
#include "kernels/group_norm.h"
#include "kernels/linear_each.h"
#include "kernels/residual.h"
#include "kernels/upsample_conv.h"

using namespace iddpm;

namespace {

std::optional<at::Tensor> optional(gt_tensor t) {
  return t == nullptr ? std::nullopt : std::optional<at::Tensor>(unwrap(t));
}

}  // namespace

gt_result gt_mm(gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::mm(unwrap(a), unwrap(b)); });
}

gt_result gt_matmul(gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::matmul(unwrap(a), unwrap(b)); });
}

gt_pair gt_eigh(gt_tensor a) {
  return guard_pair([&] { return at::linalg_eigh(unwrap(a)); });
}

gt_result gt_linear(gt_tensor x, gt_tensor w, gt_tensor b) {
  return guard_tensor([&] { return at::linear(unwrap(x), unwrap(w), optional(b)); });
}

gt_error gt_linear_each(gt_tensor x, const gt_tensor *w, const gt_tensor *b, int64_t n, gt_tensor *out) {
  return guard([&] {
    std::vector<at::Tensor> results = linear_each(unwrap(x), unwrap_list(w, n), unwrap_list(b, n));
    for (size_t i = 0; i < results.size(); ++i) out[i] = wrap(results[i]);
  });
}

gt_result gt_conv2d(gt_tensor x, gt_tensor w, gt_tensor b, const int64_t *stride, const int64_t *padding,
                    const int64_t *dilation, int64_t groups) {
  return guard_tensor([&] {
    return at::conv2d(unwrap(x), unwrap(w), optional(b), ints(stride, 2), ints(padding, 2), ints(dilation, 2), groups);
  });
}

gt_result gt_group_norm(gt_tensor x, int64_t groups, gt_tensor w, gt_tensor b, double eps) {
  return guard_tensor([&] { return at::group_norm(unwrap(x), groups, optional(w), optional(b), eps); });
}

gt_pair gt_group_norm_silu(gt_tensor x, gt_group_norm_options o) {
  return guard_pair([&] {
    at::Tensor skip, *skip_out = o.with_skip != 0 ? &skip : nullptr;
    GroupNormParams params{unwrap(o.weight), unwrap(o.bias), unwrap(o.scale_shift), unwrap(o.input_bias)};
    GroupNormActivation end{o.linear == 0, o.dropout, philox_key(o.key, unwrap(o.step_of), unwrap(x).device())};
    at::Tensor y = o.rest == nullptr
                       ? group_norm_silu(unwrap(x), o.groups, params, o.eps, end, skip_out)
                       : group_norm_silu_concat({unwrap(x), unwrap(o.rest)}, o.groups, params, o.eps, end, skip_out);
    return std::make_pair(y, skip);
  });
}

gt_result gt_residual_add(gt_tensor x, gt_tensor h, gt_tensor b) {
  return guard_tensor([&] { return residual_add(unwrap(x), unwrap(h), unwrap(b)); });
}

gt_result gt_log_softmax(gt_tensor x, int64_t dim) {
  return guard_tensor([&] { return at::log_softmax(unwrap(x), dim); });
}

gt_result gt_nll_loss(gt_tensor x, gt_tensor target) {
  return guard_tensor([&] { return at::nll_loss_nd(unwrap(x), unwrap(target), /*weight=*/{}, at::Reduction::None); });
}

gt_result gt_attention(gt_tensor q, gt_tensor k, gt_tensor v) {
  return guard_tensor([&] { return at::scaled_dot_product_attention(unwrap(q), unwrap(k), unwrap(v)); });
}

gt_result gt_self_attention(gt_tensor qkv, int64_t heads) {
  return guard_tensor([&] { return attention(unwrap(qkv), heads); });
}

gt_result gt_embedding(gt_tensor w, gt_tensor index) {
  return guard_tensor([&] { return at::embedding(unwrap(w), unwrap(index)); });
}

gt_result gt_max_pool2d(gt_tensor x, const int64_t *kernel, const int64_t *stride, const int64_t *padding,
                        const int64_t *dilation, int32_t ceil_mode) {
  return guard_tensor([&] {
    return at::max_pool2d(unwrap(x), ints(kernel, 2), ints(stride, 2), ints(padding, 2), ints(dilation, 2),
                          ceil_mode != 0);
  });
}

gt_result gt_avg_pool2d(gt_tensor x, const int64_t *kernel, const int64_t *stride, const int64_t *padding, int32_t count_include_pad) {
  return guard_tensor([&] {
    return at::avg_pool2d(unwrap(x), ints(kernel, 2), ints(stride, 2), ints(padding, 2), /*ceil_mode=*/false, count_include_pad != 0);
  });
}

gt_result gt_adaptive_avg_pool2d(gt_tensor x, const int64_t *output) {
  return guard_tensor([&] { return at::adaptive_avg_pool2d(unwrap(x), ints(output, 2)); });
}

gt_result gt_upsample_nearest2d(gt_tensor x, int64_t h, int64_t w) {
  return guard_tensor([&] { return at::upsample_nearest2d(unwrap(x), {h, w}); });
}

gt_result gt_upsample_bilinear2d(gt_tensor x, int64_t h, int64_t w) {
  return guard_tensor([&] { return at::upsample_bilinear2d(unwrap(x), {h, w}, /*align_corners=*/false); });
}

gt_result gt_upsample_weight(gt_tensor w, int32_t dtype) {
  return guard_tensor([&] { return upsample_weight(unwrap(w), dtype_of(dtype)); });
}

gt_result gt_upsample_conv2d(gt_tensor x, gt_tensor wide, gt_tensor b) {
  return guard_tensor([&] { return upsample_conv2d(unwrap(x), unwrap(wide), unwrap(b)); });
}
