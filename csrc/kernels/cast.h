// Casting many tensors at once.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace iddpm {

// Each tensor in another floating-point dtype, as Tensor.to gives it, with
// gradients: one operator and one node of the graph for all of them, where a
// network's weights would make some hundred each. Its backward waits for all
// gradients, so it is not for graphs that are walked in parts.
std::vector<at::Tensor> cast_list(const std::vector<at::Tensor> &list, at::ScalarType dtype);

// The values of one tensor, or of a part of it, in memory.
void cast_values(const float *from, at::BFloat16 *to, int64_t n);
void cast_values(const at::BFloat16 *from, float *to, int64_t n);

}  // namespace iddpm
