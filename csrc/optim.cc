// Whole lists of parameters at once.
#include <c10/core/GradMode.h>

#include <algorithm>

#include "handle.h"

using namespace iddpm;

// `step` counts the updates of all parameters together; it goes up by one, once
// the update has succeeded.
gt_error gt_fused_adamw_(const gt_tensor *params, const gt_tensor *grads, const gt_tensor *exp_avg,
                         const gt_tensor *exp_avg_sq, int64_t n, gt_tensor step, double lr, double beta1, double beta2,
                         double weight_decay, double eps) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    if (n == 0) return;
    std::vector<at::Tensor> steps(static_cast<size_t>(n), unwrap(step) + 1);
    at::_fused_adamw_(unwrap_list(params, n), unwrap_list(grads, n), unwrap_list(exp_avg, n),
                      unwrap_list(exp_avg_sq, n), /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false);
    unwrap(step).add_(1);
  });
}

gt_error gt_foreach_lerp_(const gt_tensor *a, const gt_tensor *b, int64_t n, double weight) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_lerp_(unwrap_list(a, n), unwrap_list(b, n), weight);
  });
}

gt_error gt_foreach_add_(const gt_tensor *a, const gt_tensor *b, int64_t n, double alpha) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_add_(unwrap_list(a, n), unwrap_list(b, n), alpha);
  });
}

gt_error gt_foreach_mul_scalar_(const gt_tensor *a, int64_t n, double v) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(unwrap_list(a, n), at::Scalar(v));
  });
}

gt_error gt_foreach_mul_(const gt_tensor *a, int64_t n, gt_tensor factor) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(unwrap_list(a, n), unwrap(factor));
  });
}

gt_error gt_foreach_copy_(const gt_tensor *dst, const gt_tensor *src, int64_t n) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_copy_(unwrap_list(dst, n), unwrap_list(src, n));
  });
}

// The 2-norm over all elements of all tensors: one tensor, no host
// synchronisation. Sums of half-precision squares would overflow.
gt_result gt_total_norm(const gt_tensor *a, int64_t n) {
  return guard_tensor([&] {
    TORCH_CHECK(n > 0, "the total norm of no tensors");
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> list = unwrap_list(a, n);
    bool wide = std::any_of(list.begin(), list.end(), [](const at::Tensor &t) { return t.scalar_type() == at::kDouble; });
    return at::stack(at::_foreach_norm(list, 2, wide ? at::kDouble : at::kFloat)).norm();
  });
}
