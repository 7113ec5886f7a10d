// Nearest-neighbour up-sampling folded into the convolution after it.
#pragma once

#include <ATen/ATen.h>

namespace iddpm {

// Doubling the sides by repeating pixels and then convolving with w [O, I, 3, 3],
// padding 1, is one transposed convolution of stride 2 and padding 1 with these
// weights [I, O, 4, 4], in dtype: per axis w2, w1 + w2, w0 + w1, w0. It takes 16
// products where the two take 36, and never makes the large image of I
// channels.
//
// Gradients flow to w, float32 on the CPU.
at::Tensor upsample_weight(const at::Tensor &w, at::ScalarType dtype);

// That transposed convolution: x [N, I, H, W] to [N, O, 2 H, 2 W], with bias b
// [O]. libtorch's own takes as long for the gradient of b as for a tenth of all
// else.
at::Tensor upsample_conv2d(const at::Tensor &x, const at::Tensor &wide, const at::Tensor &b);

}  // namespace iddpm
