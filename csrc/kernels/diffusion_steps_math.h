// Shared by the CPU and CUDA kernels of the diffusion steps: one element of x_t and of
// x_{t-1}.
#pragma once

#include <cmath>
#include <cstring>

#include "diffusion_math.h"
#include "philox.h"

namespace iddpm {

// A step of the forward process for one sample: a row of gt_diffusion_q_sample.
struct QSampleRow {
  float signal, noise;  // factors of x_0 and of the noise

  // x_t, equation 9, rounded as libtorch's addcmul does on a processor with FMA.
  IDDPM_HD float x_t(float x_start, float z) const { return fmaf(noise, z, signal * x_start); }
};
constexpr int64_t kQSampleRow = 2;
static_assert(sizeof(QSampleRow) == kQSampleRow * sizeof(float), "a row is an array of floats");

// factor v, and 0 for a factor of 0 even if v is infinite or NaN. It avoids a branch:
// compilers would make a copy of the loop per outcome.
IDDPM_HD float times(float factor, float v) {
  uint32_t bits, all = 0u - static_cast<uint32_t>(factor != 0.0f);
  memcpy(&bits, &v, sizeof bits);
  bits &= all;
  memcpy(&v, &bits, sizeof v);
  return factor * v;
}

// A step of the reverse process for one sample: a row of gt_diffusion_reverse_step.
struct ReverseRow {
  float x_start_by_x, x_start_by_prediction;             // coefficients of x_0
  float mean_by_x_start, mean_by_x, mean_by_prediction;  // coefficients of the mean of x_{t-1}
  float log_variance;                                    // in nats, at variance output 0 and without one
  float log_variance_slope;                              // its increase per unit of the variance output
  float noise;                                           // factor of the standard deviation

  // A NaN stays one.
  IDDPM_HD float x_start(float x, float prediction, bool clip) const {
    float v = times(x_start_by_x, x) + times(x_start_by_prediction, prediction);
    if (!clip) return v;
    return v < -1.0f ? -1.0f : v > 1.0f ? 1.0f : v;
  }
  IDDPM_HD float mean(float x_start, float x, float prediction) const {
    return times(mean_by_x_start, x_start) + times(mean_by_x, x) + times(mean_by_prediction, prediction);
  }
  // The factor of the noise for the variance output v.
  IDDPM_HD float deviation(float v) const { return expf(0.5f * (log_variance + times(log_variance_slope, v))) * noise; }
};
constexpr int64_t kReverseRow = 8;
static_assert(sizeof(ReverseRow) == kReverseRow * sizeof(float), "a row is an array of floats");

struct QSampleInputs {
  const float *x_start;
  Rows<QSampleRow> rows;
  PhiloxKey key;
};

struct ReverseInputs {
  const float *out, *x;
  Rows<ReverseRow> rows;
  bool clip;
  const float *noise;  // NULL: no noise
};

}  // namespace iddpm
