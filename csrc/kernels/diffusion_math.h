// Shared by the CPU and CUDA kernels of the diffusion: the layout of images, and the
// training objective of one element (Nichol & Dhariwal 2021, section 3).
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace iddpm {

// Channels-last images of c channels. The network's output has c channels, or 2 c with
// learned variances.
struct ImageShape {
  int64_t n, pixels, c;
  bool learned;

  IDDPM_HD int64_t elements() const { return pixels * c; }  // per sample
};

// Iterates over the positions in the network's output of the predictions of sample n,
// from element i on; the variance output is c positions after the prediction.
struct OutputCursor {
  int64_t prediction, channel;

  IDDPM_HD OutputCursor(const ImageShape &s, int64_t n, int64_t i)
      : prediction((n * s.pixels + i / s.c) * s.c * (s.learned ? 2 : 1) + i % s.c), channel(i % s.c) {}

  IDDPM_HD void next(const ImageShape &s) {
    ++prediction;
    if (++channel < s.c) return;
    channel = 0;
    if (s.learned) prediction += s.c;
  }
};

// One row per sample, a view of a table of floats.
template <class Row>
struct Rows {
  const float *data;
  int64_t stride;  // floats from one row to the next

  IDDPM_HD const Row &operator[](int64_t n) const { return *reinterpret_cast<const Row *>(data + n * stride); }
};

// The constants of a timestep for a sample's losses: a row of gt_diffusion_losses.
struct LossRow {
  float scale;              // factor from the prediction's error to the posterior mean's error
  float log_variance_max;   // of the model, in nats, at variance output 1 and without one
  float log_variance_min;   // at variance output -1
  float true_log_variance;  // of q(x_{t-1} | x_t, x_0), in nats
  float later;              // 0 at t = 0, whose term is the decoder NLL; else 1

  // The model's log variance, equation 15, with the reference's order of rounding: (v + 1) / 2 first.
  IDDPM_HD float log_variance(bool learned, float v) const {
    if (!learned) return log_variance_max;
    float share = (v + 1.0f) * 0.5f;
    return rounded_product(share, log_variance_max) + rounded_product(1.0f - share, log_variance_min);
  }
  // Its derivative.
  IDDPM_HD float slope() const { return 0.5f * (log_variance_max - log_variance_min); }
};
constexpr int64_t kLossRow = 5;
static_assert(sizeof(LossRow) == kLossRow * sizeof(float), "a row is an array of floats");

// One element: prediction, variance output (if learned), target and x_0.
struct LossElement {
  bool learned;
  float prediction, variance, target, x_start;

  IDDPM_HD float error() const { return prediction - target; }
};

// The derivatives of the bound's term with respect to the network's two outputs.
struct LossSlopes {
  float prediction, variance;
};

// The CDF of the standard normal distribution, by the tanh approximation that the
// paper's published results use.
struct NormalCDF {
  float value, slope;

  IDDPM_HD explicit NormalCDF(float x) {
    const float k = 0.7978845608028654f;  // sqrt(2 / pi)
    float th = tanhf(k * (0.044715f * x * x * x + x));
    value = 0.5f * (1.0f + th);
    slope = 0.5f * (1.0f - th * th) * k * (1.0f + 3 * 0.044715f * x * x);
  }
};

// The discretized decoder NLL: -log of the probability of x_start's bin, of 256 over
// [-1, 1], under N(x_start - centered, exp(log_variance)), and its derivatives.
struct Decoder {
  float nats, by_centered, by_log_variance;

  IDDPM_HD Decoder(float x_start, float centered, float log_variance) {
    float inverse = expf(-0.5f * log_variance);
    float high = (centered + 1.0f / 255) * inverse, low = (centered - 1.0f / 255) * inverse;
    NormalCDF above(high), below(low);
    bool lowest = x_start < -0.999f, highest = x_start > 0.999f;
    if (lowest) below.value = below.slope = 0.0f;
    if (highest && !lowest) above.value = 1.0f, above.slope = 0.0f;
    float p = above.value - below.value;
    bool vanishes = p < 1e-12f;  // clamped to keep the logarithm finite
    nats = -logf(vanishes ? 1e-12f : p);
    float by_p = vanishes ? 0.0f : -1.0f / p;
    by_centered = by_p * inverse * (above.slope - below.slope);
    by_log_variance = -0.5f * by_p * (above.slope * high - below.slope * low);
  }
};

// The KL divergence of N(mean, exp(log_variance)) from N(mean + difference,
// exp(true_log_variance)) in nats, and its derivatives. For nearly equal distributions
// the terms cancel and rounding dominates, so the order of operations is the reference's.
struct Divergence {
  float nats, by_difference, by_log_variance;

  IDDPM_HD Divergence(float difference, float true_log_variance, float log_variance) {
    float ratio = expf(true_log_variance - log_variance), inverse = expf(-log_variance);
    float distance = rounded_product(rounded_product(difference, difference), inverse);
    nats = 0.5f * (log_variance - 1.0f - true_log_variance + ratio + distance);
    by_difference = difference * inverse;
    by_log_variance = 0.5f * (1.0f - ratio - distance);
  }
};

// The bound's term for one element in nats: equation 5 at t = 0, else equation 6.
IDDPM_HD float bound_term(const LossRow &r, const LossElement &e) {
  float log_variance = r.log_variance(e.learned, e.variance), difference = r.scale * e.error();
  if (r.later == 0.0f) return Decoder(e.x_start, difference, log_variance).nats;
  return Divergence(difference, r.true_log_variance, log_variance).nats;
}

IDDPM_HD LossSlopes bound_slopes(const LossRow &r, const LossElement &e) {
  float log_variance = r.log_variance(e.learned, e.variance), difference = r.scale * e.error();
  if (r.later == 0.0f) {
    Decoder d(e.x_start, difference, log_variance);
    return {d.by_centered * r.scale, d.by_log_variance * r.slope()};
  }
  Divergence d(difference, r.true_log_variance, log_variance);
  return {d.by_difference * r.scale, d.by_log_variance * r.slope()};
}

struct LossInputs {
  const float *out, *target, *x_start;
  Rows<LossRow> rows;
  bool bound;    // compute the bound's term, too
  bool through;  // its gradient also reaches the prediction

  IDDPM_HD LossElement element(const ImageShape &s, int64_t n, int64_t i) const {
    int64_t k = OutputCursor(s, n, i).prediction, j = n * s.elements() + i;
    return {s.learned, out[k], s.learned ? out[k + s.c] : 0.0f, target[j], x_start[j]};
  }
};

// The incoming gradients of both losses, NULL if nothing depends on one. The gradient of
// `out` is written to d_out.
struct LossGradients {
  const float *mse, *bound;

  IDDPM_HD void apply(const ImageShape &s, const LossInputs &in, int64_t n, int64_t i, float *d_out) const {
    LossElement e = in.element(s, n, i);
    int64_t k = OutputCursor(s, n, i).prediction;
    float share = 1.0f / static_cast<float>(s.elements()), g = 0.0f, gv = 0.0f;
    if (mse != nullptr) g = mse[n] * share * 2.0f * e.error();
    if (bound != nullptr) {
      LossSlopes slopes = bound_slopes(in.rows[n], e);
      float weight = bound[n] * share * 1.4426950408889634f;  // 1 / ln 2
      if (in.through) g += weight * slopes.prediction;
      gv = weight * slopes.variance;
    }
    d_out[k] = g;
    if (s.learned) d_out[k + s.c] = gv;
  }
};

}  // namespace iddpm
