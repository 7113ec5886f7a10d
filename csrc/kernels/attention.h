// Self-attention over the pixels of an image.
#pragma once

#include <ATen/ATen.h>

namespace iddpm {

// Returns softmax(q k^T / sqrt(d)) v as [N, T, C] for qkv [N, T, 3 C] with channels
// ordered as [heads, (q, k, v), d], as in the reference implementation of the paper.
//
// On the CPU, for up to 256 tokens in bfloat16 or 64 in float32, it uses batched
// matrix products and its own softmax, and stores the weights [N, heads, T, T] for the
// backward pass: libtorch's flash attention would run thousands of tiny products per
// step. Otherwise it is libtorch's scaled_dot_product_attention.
at::Tensor attention(const at::Tensor &qkv, int64_t heads);

}  // namespace iddpm
