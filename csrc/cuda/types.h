#pragma once

#include <ATen/ATen.h>

namespace iddpm::cuda {

// Calls f with a zero of x's element type, if kernels support it.
template <class F>
void with_type(const at::Tensor &x, F f) {
  switch (x.scalar_type()) {
    case at::kFloat: return f(float{});
    case at::kBFloat16: return f(at::BFloat16{});
    case at::kHalf: return f(at::Half{});
    default: TORCH_CHECK(false, "there is no kernel for a ", x.scalar_type(), " tensor");
  }
}

}  // namespace iddpm::cuda
