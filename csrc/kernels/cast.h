// Casting many tensors at once.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace iddpm {

// Converts all tensors to another floating-point dtype as Tensor.to does, with one
// operator and one autograd node instead of one per tensor. The backward pass of the
// node waits for all gradients, so do not use it when the graph is run in segments.
std::vector<at::Tensor> cast_list(const std::vector<at::Tensor> &list, at::ScalarType dtype);

// Converts n contiguous values.
void cast_values(const float *from, at::BFloat16 *to, int64_t n);
void cast_values(const at::BFloat16 *from, float *to, int64_t n);

}  // namespace iddpm
