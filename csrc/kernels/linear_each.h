// Several linear layers of one input, by one matrix product.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace iddpm {

// x W_i^T + b_i for every i, of x [N, I], weights [O_i, I] and biases [O_i]. Each
// result is [N, O_i], rows of one wider matrix. Gradients flow to all of them, by
// one product for x and one for the weights.
//
// A network's blocks each project the same embedding of few rows, which is as many
// operators each way as there are blocks, and a sum of as many gradients.
std::vector<at::Tensor> linear_each(const at::Tensor &x, const std::vector<at::Tensor> &weights,
                                    const std::vector<at::Tensor> &biases);

}  // namespace iddpm
