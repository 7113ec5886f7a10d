// Pointwise operators.
#include "handle.h"

using namespace iddpm;

gt_result gt_add(gt_tensor a, gt_tensor b, double alpha) {
  return guard_tensor([&] { return at::add(unwrap(a), unwrap(b), scalar_like(alpha, unwrap(a))); });
}

gt_error gt_add_(gt_tensor a, gt_tensor b, double alpha) {
  return guard([&] { unwrap(a).add_(unwrap(b), scalar_like(alpha, unwrap(a))); });
}

gt_result gt_sub(gt_tensor a, gt_tensor b, double alpha) {
  return guard_tensor([&] { return at::sub(unwrap(a), unwrap(b), scalar_like(alpha, unwrap(a))); });
}

gt_error gt_sub_(gt_tensor a, gt_tensor b, double alpha) {
  return guard([&] { unwrap(a).sub_(unwrap(b), scalar_like(alpha, unwrap(a))); });
}

gt_result gt_mul(gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::mul(unwrap(a), unwrap(b)); });
}

gt_result gt_div(gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::div(unwrap(a), unwrap(b)); });
}

gt_error gt_div_(gt_tensor a, gt_tensor b) {
  return guard([&] { unwrap(a).div_(unwrap(b)); });
}

gt_result gt_add_scalar(gt_tensor a, double v) {
  return guard_tensor([&] { return at::add(unwrap(a), scalar_like(v, unwrap(a))); });
}

gt_error gt_add_scalar_(gt_tensor a, double v) {
  return guard([&] { unwrap(a).add_(scalar_like(v, unwrap(a))); });
}

gt_result gt_mul_scalar(gt_tensor a, double v) {
  return guard_tensor([&] { return at::mul(unwrap(a), scalar_like(v, unwrap(a))); });
}

gt_error gt_mul_scalar_(gt_tensor a, double v) {
  return guard([&] { unwrap(a).mul_(scalar_like(v, unwrap(a))); });
}

gt_result gt_pow_scalar(gt_tensor a, double v) {
  return guard_tensor([&] { return at::pow(unwrap(a), scalar_like(v, unwrap(a))); });
}

gt_result gt_addcmul(gt_tensor a, gt_tensor b, gt_tensor c, double value) {
  return guard_tensor([&] { return at::addcmul(unwrap(a), unwrap(b), unwrap(c), scalar_like(value, unwrap(a))); });
}

gt_result gt_clamp(gt_tensor a, double lo, double hi) {
  return guard_tensor([&] { return at::clamp(unwrap(a), scalar_like(lo, unwrap(a)), scalar_like(hi, unwrap(a))); });
}

gt_result gt_clamp_min(gt_tensor a, double lo) {
  return guard_tensor([&] { return at::clamp_min(unwrap(a), scalar_like(lo, unwrap(a))); });
}

gt_result gt_where(gt_tensor condition, gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::where(unwrap(condition), unwrap(a), unwrap(b)); });
}

// The order is that of gotorch's unaryOp constants.
gt_result gt_unary(int32_t op, gt_tensor a) {
  using Unary = at::Tensor (*)(const at::Tensor &);
  static const Unary table[] = {
      [](const at::Tensor &t) { return at::exp(t); },     [](const at::Tensor &t) { return at::log(t); },
      [](const at::Tensor &t) { return at::sqrt(t); },    [](const at::Tensor &t) { return at::neg(t); },
      [](const at::Tensor &t) { return at::abs(t); },     [](const at::Tensor &t) { return at::tanh(t); },
      [](const at::Tensor &t) { return at::sigmoid(t); }, [](const at::Tensor &t) { return at::silu(t); },
      [](const at::Tensor &t) { return at::relu(t); },    [](const at::Tensor &t) { return at::cos(t); },
      [](const at::Tensor &t) { return at::sin(t); },     [](const at::Tensor &t) { return at::isfinite(t); },
  };
  return guard_tensor([&] {
    TORCH_CHECK(op >= 0 && op < static_cast<int32_t>(std::size(table)), "no unary operator ", op);
    return table[op](unwrap(a));
  });
}

gt_result gt_less(gt_tensor a, gt_tensor b) {
  return guard_tensor([&] { return at::lt(unwrap(a), unwrap(b)); });
}

// The order is that of gotorch's compareOp constants.
gt_result gt_compare_scalar(int32_t op, gt_tensor a, double v) {
  return guard_tensor([&] {
    at::Scalar s = scalar_like(v, unwrap(a));
    switch (op) {
      case 0: return at::eq(unwrap(a), s);
      case 1: return at::lt(unwrap(a), s);
      case 2: return at::gt(unwrap(a), s);
      default: TORCH_CHECK(false, "no comparison ", op);
    }
  });
}

gt_error gt_fill_(gt_tensor a, double v) {
  return guard([&] { unwrap(a).fill_(scalar_like(v, unwrap(a))); });
}
