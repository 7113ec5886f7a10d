// The AdamW update of one value, shared by the CPU and the CUDA kernel.
#pragma once

#include <cmath>

#include "host_device.h"

namespace iddpm {

struct AdamW {
  double lr, beta1, beta2, weight_decay, eps;
};

// The constants of one update (Loshchilov & Hutter 2019, algorithm 2), rounded once.
struct AdamWUpdate {
  float keep, first, second, second_rest, rescale, eps, step_size;

  // step includes this update.
  IDDPM_HD AdamWUpdate(const AdamW &o, double step)
      : keep(static_cast<float>(1 - o.lr * o.weight_decay)),
        first(static_cast<float>(1 - o.beta1)),
        second(static_cast<float>(o.beta2)),
        second_rest(static_cast<float>(1 - o.beta2)),
        rescale(static_cast<float>(1 / sqrt(1 - pow(o.beta2, step)))),
        eps(static_cast<float>(o.eps)),
        step_size(static_cast<float>(o.lr / (1 - pow(o.beta1, step)))) {}

  IDDPM_HD void apply(float g, float *p, float *m, float *v) const {
    *m += first * (g - *m);
    *v = second * *v + second_rest * g * g;
    *p = keep * *p - step_size * *m / (sqrtf(*v) * rescale + eps);
  }
};

}  // namespace iddpm
