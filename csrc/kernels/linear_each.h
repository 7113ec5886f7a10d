// Several linear layers of one input, with one matrix product.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace iddpm {

// Returns x W_i^T + b_i for every i, for x [N, I], weights [O_i, I] and biases [O_i]. The
// results [N, O_i] are column slices of one matrix. Gradients flow to all inputs, with one
// product for x and one for the weights.
//
// Every block of the network projects the same timestep embedding of few rows: separate
// layers would need an operator per block in each pass, and a sum of as many gradients.
std::vector<at::Tensor> linear_each(const at::Tensor &x, const std::vector<at::Tensor> &weights,
                                    const std::vector<at::Tensor> &biases);

}  // namespace iddpm
