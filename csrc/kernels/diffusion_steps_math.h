// What the CPU's kernels of the process's steps and the GPU's have in common: one
// element of x_t, and of x_{t-1}.
#pragma once

#include <cmath>
#include <cstring>

#include "diffusion_math.h"
#include "philox.h"

namespace iddpm {

// A step of the forward process for one sample: a row of gt_diffusion_q_sample.
struct QSampleRow {
  float signal, noise;  // what x_0 and the noise are multiplied by

  // x_t, equation 9, rounded as libtorch's addcmul does where a processor has FMA.
  IDDPM_HD float x_t(float x_start, float z) const { return fmaf(noise, z, signal * x_start); }
};
constexpr int64_t kQSampleRow = 2;
static_assert(sizeof(QSampleRow) == kQSampleRow * sizeof(float), "a row is an array of floats");

// A factor of 0 leaves a value out, were it infinite. It is no condition: compilers
// make a copy of a loop for each outcome of each.
IDDPM_HD float times(float factor, float v) {
  uint32_t bits, all = 0u - static_cast<uint32_t>(factor != 0.0f);
  memcpy(&bits, &v, sizeof bits);
  bits &= all;
  memcpy(&v, &bits, sizeof v);
  return factor * v;
}

// A step of the reverse process for one sample: a row of gt_diffusion_reverse_step.
struct ReverseRow {
  float x_start_by_x, x_start_by_prediction;             // what x_0 is of x_t and the prediction
  float mean_by_x_start, mean_by_x, mean_by_prediction;  // and x_{t-1}'s mean of all three
  float log_variance;                                    // nats, where the network gives 0 or nothing
  float log_variance_slope;                              // and what a 1 of the network adds
  float noise;                                           // how many standard deviations of noise

  // A NaN stays one.
  IDDPM_HD float x_start(float x, float prediction, bool clip) const {
    float v = times(x_start_by_x, x) + times(x_start_by_prediction, prediction);
    if (!clip) return v;
    return v < -1.0f ? -1.0f : v > 1.0f ? 1.0f : v;
  }
  IDDPM_HD float mean(float x_start, float x, float prediction) const {
    return times(mean_by_x_start, x_start) + times(mean_by_x, x) + times(mean_by_prediction, prediction);
  }
  // What the noise is multiplied by where the network says v of the variance.
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
  const float *noise;  // NULL where there is none
};

}  // namespace iddpm
