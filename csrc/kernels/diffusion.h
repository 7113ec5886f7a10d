// The training objective of the diffusion in one pass each way.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "diffusion_math.h"

namespace iddpm {

// The shape of pictures, given what the network makes of them.
inline PictureShape picture_shape(const at::Tensor &out, const at::Tensor &pictures) {
  return {pictures.size(0), pictures.size(2) * pictures.size(3), pictures.size(1), out.size(1) != pictures.size(1)};
}

template <class Row>
Rows<Row> rows_of(const at::Tensor &rows) {
  return {rows.const_data_ptr<float>(), rows.stride(0)};
}

// Throw where the network's output, or the rows, do not fit pictures.
void check_output(const at::Tensor &out, const at::Tensor &pictures);
void check_rows(const at::Tensor &rows, const at::Tensor &pictures, int64_t columns);

// The arguments that both ways of the kernels share: all float32, pictures
// contiguous in channels-last memory, and so is a row.
struct LossCall {
  at::Tensor out, target, x_start, rows;
  bool bound, through;

  PictureShape shape() const { return picture_shape(out, target); }
  LossInputs inputs() const {
    return {out.const_data_ptr<float>(), target.const_data_ptr<float>(), x_start.const_data_ptr<float>(),
            rows_of<LossRow>(rows), bound, through};
  }
};

// See gt_diffusion_losses: the squared error [N], and with `bound` the bound's
// term [N], of which out gets a gradient.
std::vector<at::Tensor> diffusion_losses(const LossCall &call);

}  // namespace iddpm
