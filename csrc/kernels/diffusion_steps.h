// Steps of the forward and the reverse process, with one pass over the images each.
#pragma once

#include <ATen/ATen.h>

#include <utility>

#include "diffusion.h"
#include "diffusion_steps_math.h"

namespace iddpm {

// The arguments of the kernels, as in LossCall: float32, images contiguous in
// channels-last memory, each row contiguous.
struct QSampleCall {
  at::Tensor x_start, rows;
  PhiloxKey key;

  ImageShape shape() const { return image_shape(x_start, x_start); }
  QSampleInputs inputs() const { return {x_start.const_data_ptr<float>(), rows_of<QSampleRow>(rows), key}; }
};

struct ReverseCall {
  at::Tensor out, x, rows;
  bool clip;
  at::Tensor noise;  // undefined: no noise

  ImageShape shape() const { return image_shape(out, x); }
  ReverseInputs inputs() const {
    return {out.const_data_ptr<float>(), x.const_data_ptr<float>(), rows_of<ReverseRow>(rows), clip,
            noise.defined() ? noise.const_data_ptr<float>() : nullptr};
  }
};

// x_t and the noise: see gt_diffusion_q_sample.
std::pair<at::Tensor, at::Tensor> diffusion_q_sample(const QSampleCall &call);

// x_{t-1} and the predicted x_0: see gt_diffusion_reverse_step.
std::pair<at::Tensor, at::Tensor> diffusion_reverse_step(const ReverseCall &call);

}  // namespace iddpm
