// Handles: conversions from at::Tensor to gt_tensor, and from exceptions to gt_error.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "iddpm.h"

namespace iddpm {

// Puts t into a slot of the current thread's innermost scope, or an unscoped one.
gt_tensor wrap(at::Tensor t);

// The tensor behind a handle; NULL is the undefined tensor.
const at::Tensor &unwrap(gt_tensor t);

std::vector<at::Tensor> unwrap_list(const gt_tensor *list, int64_t n);

inline gt_error make_error(const char *message) { return strdup(message); }

inline at::IntArrayRef ints(const int64_t *p, int64_t n) {
  return at::IntArrayRef(p, static_cast<size_t>(n));
}

// libtorch indexes tables by dtype without a bounds check, so an invalid number would
// read past their end.
inline at::ScalarType dtype_of(int32_t d) {
  at::ScalarType t = static_cast<at::ScalarType>(d);
  switch (t) {
    case at::kByte: case at::kChar: case at::kShort: case at::kInt: case at::kLong: case at::kBool:
    case at::kHalf: case at::kBFloat16: case at::kFloat: case at::kDouble: return t;
    default: TORCH_CHECK(false, "there is no dtype ", d);
  }
}

inline at::Device device_of(gt_device d) {
  TORCH_CHECK(d.type == 0 || d.type == 1, "there is no device type ", d.type);
  TORCH_CHECK(d.index >= -1 && d.index < 128, "there is no device number ", d.index);
  return at::Device(static_cast<at::DeviceType>(d.type), static_cast<at::DeviceIndex>(d.index));
}

inline at::TensorOptions options_of(int32_t dtype, gt_device d) {
  return at::TensorOptions().dtype(dtype_of(dtype)).device(device_of(d));
}

// An integral scalar for an integral tensor: libtorch would otherwise promote
// int64 + 1.0 to float.
inline at::Scalar scalar_like(double v, const at::Tensor &t) {
  bool fits = std::abs(v) < 9.2e18 && v == std::trunc(v);
  if (fits && t.defined() && at::isIntegralType(t.scalar_type(), true)) return at::Scalar(static_cast<int64_t>(v));
  return at::Scalar(v);
}

// Runs f and turns an exception into a message without the C++ stack trace.
template <class F>
gt_error guard(F &&f) noexcept {
  try {
    std::forward<F>(f)();
    return nullptr;
  } catch (const c10::Error &e) {
    return make_error(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return make_error(e.what());
  } catch (...) {
    return make_error("unknown C++ exception");
  }
}

// Runs f, which returns a tensor, and wraps the result.
template <class F>
gt_result guard_tensor(F &&f) noexcept {
  gt_result r{nullptr, nullptr};
  r.error = guard([&] { r.value = wrap(f()); });
  return r;
}

// Runs f, which returns two tensors; the second may be undefined.
template <class F>
gt_pair guard_pair(F &&f) noexcept {
  gt_pair p{nullptr, nullptr, nullptr};
  p.error = guard([&] {
    auto [first, second] = f();
    p.first = wrap(std::move(first));
    if (second.defined()) p.second = wrap(std::move(second));
  });
  return p;
}

}  // namespace iddpm
