// Nearest-neighbour upsampling folded into the convolution after it.
#pragma once

#include <ATen/ATen.h>

namespace iddpm {

// Nearest-neighbour upsampling by 2 followed by a convolution with w [O, I, 3, 3] and
// padding 1 equals one transposed convolution of stride 2 and padding 1 with these weights
// [I, O, 4, 4], in dtype: per axis w2, w1 + w2, w0 + w1, w0. It needs 16 multiplications
// per output instead of 36, and no upsampled tensor of I channels.
//
// w is float32 on the CPU. Gradients flow to w.
at::Tensor upsample_weight(const at::Tensor &w, at::ScalarType dtype);

// That transposed convolution: x [N, I, H, W] to [N, O, 2 H, 2 W], with bias b [O]. It
// computes the gradient of b itself, since libtorch's is slow.
at::Tensor upsample_conv2d(const at::Tensor &x, const at::Tensor &wide, const at::Tensor &b);

}  // namespace iddpm
