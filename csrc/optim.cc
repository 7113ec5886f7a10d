// Whole lists of parameters at once.
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>

#include "handle.h"

using namespace iddpm;

namespace {

bool same_layout(const at::Tensor &a, const at::Tensor &b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// libtorch's fused update walks all four as flat arrays and checks neither
// sizes nor strides: a short gradient would read past its end, a channels-last
// one would land on the wrong weights.
void check_fits(const at::Tensor &param, const at::Tensor &other, size_t i, const char *name) {
  TORCH_CHECK(other.defined() && other.sizes() == param.sizes() && other.dtype() == param.dtype() &&
                  other.device() == param.device(),
              "parameter ", i, " is ", param.toString(), param.sizes(), ", but its ", name, " is ", other.toString(),
              other.sizes());
  TORCH_CHECK(param.is_non_overlapping_and_dense(), "parameter ", i, " does not fill its memory");
}

}  // namespace

// `step` counts the updates of all parameters together; it goes up by one, once
// the update has succeeded. Where `skip` (NULL: 0) holds a 1 nothing changes, and
// the host need not know.
gt_error gt_fused_adamw_(const gt_tensor *params, const gt_tensor *grads, const gt_tensor *exp_avg,
                         const gt_tensor *exp_avg_sq, int64_t n, gt_tensor step, double lr, double beta1, double beta2,
                         double weight_decay, double eps, gt_tensor skip) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    if (n == 0) return;
    std::vector<at::Tensor> p = unwrap_list(params, n), g = unwrap_list(grads, n), m = unwrap_list(exp_avg, n),
                            v = unwrap_list(exp_avg_sq, n);
    for (size_t i = 0; i < p.size(); ++i) {
      check_fits(p[i], g[i], i, "gradient");
      check_fits(p[i], m[i], i, "first moment");
      check_fits(p[i], v[i], i, "second moment");
      TORCH_CHECK(same_layout(p[i], m[i]) && same_layout(p[i], v[i]), "parameter ", i,
                  " and its moments lie differently in memory");
      if (!same_layout(p[i], g[i])) g[i] = at::empty_like(p[i]).copy_(g[i]);
    }
    std::optional<at::Tensor> found_inf;
    if (skip) {
      found_inf = unwrap(skip);
      TORCH_CHECK(found_inf->numel() == 1 && found_inf->scalar_type() == at::kFloat && found_inf->device() == p[0].device(),
                  "what decides whether to skip is ", found_inf->toString(), found_inf->sizes(), ", not one float where the parameters are");
    }
    std::vector<at::Tensor> steps(p.size(), unwrap(step) + 1);
    at::_fused_adamw_(p, g, m, v, /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found_inf);
    unwrap(step).add_(1);
    if (found_inf) unwrap(step).sub_(found_inf->reshape(unwrap(step).sizes()));
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
