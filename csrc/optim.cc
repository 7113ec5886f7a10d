// Operators on lists of tensors.
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

// The fused update reads all of them as flat arrays and checks neither sizes nor
// strides: it would read past the end of a short gradient, and apply a channels-last
// gradient to the wrong weights.
void check_fits(const at::Tensor &param, const at::Tensor &other, size_t i, const char *name, at::ScalarType dtype) {
  TORCH_CHECK(other.defined() && other.sizes() == param.sizes() && other.scalar_type() == dtype && other.device() == param.device(),
              "parameter ", i, " is ", param.toString(), param.sizes(), ", but its ", name, " is ", other.toString(),
              other.sizes());
  TORCH_CHECK(param.is_non_overlapping_and_dense(), "parameter ", i, " has gaps in memory");
}

void check_state(const at::Tensor &param, const at::Tensor &state, size_t i, const char *name, at::ScalarType dtype) {
  check_fits(param, state, i, name, dtype);
  TORCH_CHECK(same_layout(param, state), "parameter ", i, " and its ", name, " have different memory layouts");
}

// Checks an optional one-element tensor on the parameters' device.
void check_scalar(const at::Tensor &t, at::ScalarType dtype, const at::Tensor &param, const char *name) {
  TORCH_CHECK(!t.defined() || (t.numel() == 1 && t.scalar_type() == dtype && t.device() == param.device()), name, " is ",
              t.toString(), t.sizes(), ", not one ", dtype, " where the parameters are");
}

}  // namespace

// A parameter's gradient may have the dtype of its working weight. skip, lr_from and grad_scale
// have one element; only the device reads them.
gt_error gt_fused_adamw_(gt_adamw_tensors t, gt_adamw_options o) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    const int64_t n = t.n;
    if (n == 0) return;
    AdamWCall c{unwrap_list(t.params, n), unwrap_list(t.grads, n), unwrap_list(t.exp_avg, n), unwrap_list(t.exp_avg_sq, n),
                unwrap_list(t.working, n), {}, unwrap(t.step), {o.lr, o.beta1, o.beta2, o.weight_decay, o.eps},
                unwrap(o.lr_from), unwrap(o.skip), unwrap(o.grad_scale)};
    const Tensors &p = c.params;
    for (int64_t r = 0; r < o.n_emas; ++r) c.emas.push_back({o.rates[r], unwrap_list(o.emas + r * n, n)});
    for (size_t i = 0; i < p.size(); ++i) {
      at::ScalarType dtype = p[i].scalar_type(), computed = c.working[i].defined() ? c.working[i].scalar_type() : dtype;
      at::Tensor &g = c.grads[i];
      check_fits(p[i], g, i, "gradient", g.scalar_type() == dtype ? dtype : computed);
      if (!same_layout(p[i], g)) g = at::empty_like(p[i], p[i].options().dtype(g.scalar_type())).copy_(g);
      check_state(p[i], c.exp_avg[i], i, "first moment", dtype);
      check_state(p[i], c.exp_avg_sq[i], i, "second moment", dtype);
      if (c.working[i].defined()) check_state(p[i], c.working[i], i, "working weight", computed);
      for (const Ema &a : c.emas) check_state(p[i], a.tensors[i], i, "EMA", dtype);
    }
    for (const at::Tensor &x : p) TORCH_CHECK(x.device() == p[0].device(), "parameters are on ", p[0].device(), " and on ", x.device());
    check_scalar(c.step, at::kFloat, p[0], "the number of updates");
    check_scalar(c.skip, at::kFloat, p[0], "the skip flag");
    check_scalar(c.lr, at::kDouble, p[0], "the learning rate");
    check_scalar(c.grad_scale, at::kFloat, p[0], "the gradient scale");
    adamw_(c);
    c.step.add_(1);
    if (c.skip.defined()) c.step.sub_(c.skip.reshape(c.step.sizes()));
  });
}

gt_error gt_foreach_add_(const gt_tensor *a, const gt_tensor *b, int64_t n, double alpha) {
  return guard([&] {
    if (n == 0) return;
    c10::NoGradGuard no_grad;
    at::_foreach_add_(unwrap_list(a, n), unwrap_list(b, n), alpha);
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
