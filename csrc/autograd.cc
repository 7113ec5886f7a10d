// Autograd.
#include <torch/csrc/autograd/autograd.h>

#include "handle.h"

using namespace iddpm;

gt_error gt_requires_grad_(gt_tensor t, int32_t on) {
  return guard([&] { unwrap(t).requires_grad_(on != 0); });
}

int32_t gt_requires_grad(gt_tensor t) { return unwrap(t).defined() && unwrap(t).requires_grad(); }

gt_result gt_detach(gt_tensor t) {
  return guard_tensor([&] { return unwrap(t).detach(); });
}

// Extends autograd's gradient layout contract, which covers leaves, to t. Matrix products and
// sums of other strides may add in another order.
gt_error gt_keep_grad_layout(gt_tensor t) {
  return guard([&] {
    const at::Tensor &x = unwrap(t);
    if (!x.requires_grad() || x.is_leaf()) return;
    bool dense = x.is_non_overlapping_and_dense();
    x.register_hook([dense, strides = x.strides().vec()](const at::Tensor &grad) {  // capturing x would keep it alive
      if (!grad.defined() || grad.strides() == strides) return grad;
      return dense ? at::empty_strided(grad.sizes(), strides, grad.options()).copy_(grad) : grad.contiguous();
    });
  });
}

// Without a gradient both value and error are NULL.
gt_result gt_grad(gt_tensor t) {
  gt_result r{nullptr, nullptr};
  r.error = guard([&] {
    const at::Tensor &g = unwrap(t).grad();
    if (g.defined()) r.value = wrap(g);
  });
  return r;
}

gt_error gt_set_grad(gt_tensor t, gt_tensor g) {
  return guard([&] {
    const at::Tensor &x = unwrap(t), &y = unwrap(g);
    TORCH_CHECK(!y.defined() || (y.sizes() == x.sizes() && y.dtype() == x.dtype() && y.device() == x.device()),
                "a gradient of ", y.toString(), y.sizes(), " on ", y.device(), " for a tensor of ", x.toString(),
                x.sizes(), " on ", x.device());
    x.mutable_grad() = y;
  });
}

gt_error gt_backward(gt_tensor t, gt_tensor gradient, int32_t retain_graph) {
  return guard([&] { unwrap(t).backward(unwrap(gradient), retain_graph != 0); });
}

// One backward pass from all tensors, each with its gradient.
gt_error gt_backward_all(const gt_tensor *list, const gt_tensor *gradients, int64_t n) {
  return guard([&] { torch::autograd::backward(unwrap_list(list, n), unwrap_list(gradients, n)); });
}

gt_error gt_zero_grads(const gt_tensor *params, int64_t n) {
  return guard([&] {
    for (int64_t i = 0; i < n; ++i) unwrap(params[i]).mutable_grad() = at::Tensor();
  });
}
