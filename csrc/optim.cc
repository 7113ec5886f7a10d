// Whole lists of parameters at once.
#include <c10/core/GradMode.h>

#include "handle.h"
#include "kernels/adamw.h"

using namespace iddpm;

namespace {

bool same_layout(const at::Tensor &a, const at::Tensor &b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// The fused update walks all of them as flat arrays and checks neither
// sizes nor strides: a short gradient would read past its end, a channels-last
// one would land on the wrong weights.
void check_fits(const at::Tensor &param, const at::Tensor &other, size_t i, const char *name, at::ScalarType dtype) {
  TORCH_CHECK(other.defined() && other.sizes() == param.sizes() && other.scalar_type() == dtype && other.device() == param.device(),
              "parameter ", i, " is ", param.toString(), param.sizes(), ", but its ", name, " is ", other.toString(),
              other.sizes());
  TORCH_CHECK(param.is_non_overlapping_and_dense(), "parameter ", i, " does not fill its memory");
}

void check_state(const at::Tensor &param, const at::Tensor &state, size_t i, const char *name, at::ScalarType dtype) {
  check_fits(param, state, i, name, dtype);
  TORCH_CHECK(same_layout(param, state), "parameter ", i, " and its ", name, " lie differently in memory");
}

// One number beside the parameters, or nothing.
void check_scalar(const at::Tensor &t, at::ScalarType dtype, const at::Tensor &param, const char *name) {
  TORCH_CHECK(!t.defined() || (t.numel() == 1 && t.scalar_type() == dtype && t.device() == param.device()), name, " is ",
              t.toString(), t.sizes(), ", not one ", dtype, " where the parameters are");
}

}  // namespace

// `step` counts the updates of all parameters together; it goes up by one, once
// the update has succeeded. Where `skip` (NULL: 0) holds a 1 nothing changes, and
// the host need not know. `averages` is n_averages lists of n tensors, one after
// the other. `lr_of` (NULL: `lr`) is a float64 of one element, `gain` (NULL: 1) a
// float32 of one. What of `copies` is not NULL is in bfloat16 or float16, and so may the
// parameter's gradient be.
gt_error gt_fused_adamw_(const gt_tensor *params, const gt_tensor *grads, const gt_tensor *exp_avg,
                         const gt_tensor *exp_avg_sq, const gt_tensor *copies, int64_t n, const gt_tensor *averages,
                         const double *rates, int64_t n_averages, gt_tensor step, double lr, double beta1, double beta2,
                         double weight_decay, double eps, gt_tensor lr_of, gt_tensor skip, gt_tensor gain) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    if (n == 0) return;
    AdamWCall c{unwrap_list(params, n), unwrap_list(grads, n), unwrap_list(exp_avg, n), unwrap_list(exp_avg_sq, n), unwrap_list(copies, n), {},
                unwrap(step), {lr, beta1, beta2, weight_decay, eps}, unwrap(lr_of), unwrap(skip), unwrap(gain)};
    const Tensors &p = c.params;
    for (int64_t r = 0; r < n_averages; ++r) c.averages.push_back({rates[r], unwrap_list(averages + r * n, n)});
    for (size_t i = 0; i < p.size(); ++i) {
      at::ScalarType dtype = p[i].scalar_type(), computed = c.copies[i].defined() ? c.copies[i].scalar_type() : dtype;
      at::Tensor &g = c.grads[i];
      check_fits(p[i], g, i, "gradient", g.scalar_type() == dtype ? dtype : computed);
      if (!same_layout(p[i], g)) g = at::empty_like(p[i], p[i].options().dtype(g.scalar_type())).copy_(g);
      check_state(p[i], c.exp_avg[i], i, "first moment", dtype);
      check_state(p[i], c.exp_avg_sq[i], i, "second moment", dtype);
      if (c.copies[i].defined()) check_state(p[i], c.copies[i], i, "copy", computed);
      for (const Average &a : c.averages) check_state(p[i], a.tensors[i], i, "average", dtype);
    }
    for (const at::Tensor &t : p) TORCH_CHECK(t.device() == p[0].device(), "parameters lie on ", p[0].device(), " and on ", t.device());
    check_scalar(c.step, at::kFloat, p[0], "the number of updates");
    check_scalar(c.skip, at::kFloat, p[0], "what decides whether to skip");
    check_scalar(c.lr, at::kDouble, p[0], "the learning rate");
    check_scalar(c.gain, at::kFloat, p[0], "what the gradients are multiplied by");
    adamw_(c);
    c.step.add_(1);
    if (c.skip.defined()) c.step.sub_(c.skip.reshape(c.step.sizes()));
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

gt_result gt_total_norm(const gt_tensor *a, int64_t n) {
  return guard_tensor([&] {
    TORCH_CHECK(n > 0, "the total norm of no tensors");
    c10::NoGradGuard no_grad;
    return total_norm(unwrap_list(a, n));
  });
}
