// Self-attention over the pixels of an image.
#pragma once

#include <ATen/ATen.h>

namespace iddpm {

// softmax(q k^T / sqrt(d)) v for qkv [N, T, 3 C], whose channels run over heads,
// then over q, k and v, then over the d of a head, as the reference's do: what a
// linear layer over tokens puts out. Returns [N, T, C], what the next one takes.
//
// On the CPU, for up to 256 tokens in bfloat16 or 64 in float32, it is batched
// matrix products with a softmax of our own between them, which keep the weights
// [N, heads, T, T] for the backward pass; libtorch's flash attention would make
// thousands of products a step there, too small to be worth a call. Anywhere
// else it is that.
at::Tensor attention(const at::Tensor &qkv, int64_t heads);

}  // namespace iddpm
