// The training objective, with one kernel each for the forward and the backward pass.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "diffusion_math.h"

namespace iddpm {

// The shape of images and of the network's output.
inline ImageShape image_shape(const at::Tensor &out, const at::Tensor &images) {
  return {images.size(0), images.size(2) * images.size(3), images.size(1), out.size(1) != images.size(1)};
}

template <class Row>
Rows<Row> rows_of(const at::Tensor &rows) {
  return {rows.const_data_ptr<float>(), rows.stride(0)};
}

// Throw if the network's output, or the rows, do not fit the images.
void check_output(const at::Tensor &out, const at::Tensor &images);
void check_rows(const at::Tensor &rows, const at::Tensor &images, int64_t columns);

// The arguments of the forward and the backward kernel: all float32, images contiguous in
// channels-last memory, each row contiguous.
struct LossCall {
  at::Tensor out, target, x_start, rows;
  bool bound, through;

  ImageShape shape() const { return image_shape(out, target); }
  LossInputs inputs() const {
    return {out.const_data_ptr<float>(), target.const_data_ptr<float>(), x_start.const_data_ptr<float>(),
            rows_of<LossRow>(rows), bound, through};
  }
};

// See gt_diffusion_losses: the mean squared error [N] and, with `bound`, the term of the
// variational bound [N], both with gradients for out.
std::vector<at::Tensor> diffusion_losses(const LossCall &call);

}  // namespace iddpm
