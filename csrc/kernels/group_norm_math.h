// What the CPU's group norm and the GPU's have in common: how sums over a
// sample's channels become its groups' moments, and its gradients.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"
#include "philox.h"

namespace iddpm {

// Activations [n, pixels, c], a pixel being a run of c values. Each sample's
// pixels are summed in chunks, which depend on nothing but this line: so neither
// do the sums, whatever the number of threads.
struct GroupNormShape {
  static constexpr int64_t kChunk = 128;

  int64_t n, c, pixels, groups;
  IDDPM_HD int64_t chunks() const { return (pixels + kChunk - 1) / kChunk; }
  IDDPM_HD int64_t tasks() const { return n * chunks(); }
  IDDPM_HD int64_t first(int64_t chunk) const { return chunk * kChunk; }
  IDDPM_HD int64_t count(int64_t chunk) const {
    int64_t rest = pixels - first(chunk);
    return rest < kChunk ? rest : kChunk;
  }
  IDDPM_HD int64_t width() const { return c / groups; }
};

// What follows the affine map: f is SiLU if `silu` is set, else the identity; m is
// what philox_dropout multiplies by for this rate and key, 1 for the rate 0.
struct GroupNormEnd {
  bool silu;
  double drop;
  PhiloxKey key;
};

// What a sample's channels are multiplied by and shifted by: u = a x + d.
struct GroupNormAffine {
  const float *w, *b, *scale_shift;  // [c], [c], [n, 2 c] or NULL
  int64_t scale_stride;              // from one row of scale_shift to the next
  const float *before;               // what is added to x first, or NULL
  int64_t before_stride;             // from one row to the next where it is [n, c], 0 where it is [c]

  IDDPM_HD float added(int64_t n, int64_t c) const { return before == nullptr ? 0.0f : before[n * before_stride + c]; }

  IDDPM_HD float gain(int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 1.0f : 1.0f + scale_shift[n * scale_stride + c];
  }
  IDDPM_HD float shift(const GroupNormShape &s, int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 0.0f : scale_shift[n * scale_stride + s.c + c];
  }
  // mean and rstd, of x with what is added to it, are [n, groups].
  IDDPM_HD void at(const GroupNormShape &s, int64_t n, int64_t c, const float *mean, const float *rstd, float *a,
                   float *d) const {
    int64_t g = n * s.groups + c / s.width();
    *a = w[c] * gain(n, c) * rstd[g];
    *d = b[c] * gain(n, c) + shift(s, n, c) + (added(n, c) - mean[g]) * *a;
  }
};

// Mean and 1 / standard deviation of group g, from its sample's 2 c sums of
// x - k and of (x - k)^2 over pixels; k(c) near the mean keeps the variance exact
// where the mean is large.
template <class K>
IDDPM_HD void group_moments(const GroupNormShape &s, int64_t g, const double *sum, K k, double eps, float *mean,
                            float *rstd) {
  double pixels = static_cast<double>(s.pixels), total = 0, squares = 0;
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) total += k(c) + sum[c] / pixels;
  double m = total / static_cast<double>(s.width());
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
    double off = k(c) + sum[c] / pixels - m;
    squares += sum[s.c + c] - sum[c] * sum[c] / pixels + pixels * off * off;
  }
  double variance = squares / (pixels * static_cast<double>(s.width()));
  if (variance < 0) variance = 0;  // a NaN stays one
  *mean = static_cast<float>(m);
  *rstd = static_cast<float>(1.0 / sqrt(variance + eps));
}

// What the way back wants of the way there.
template <class Float>
struct GroupNormMoments {
  Float *mean, *rstd;   // of x with what is added to it, [n, groups]
  Float *channel_mean;  // of x, [n, c]
};

// Where the parameters' gradients go.
struct GroupNormGradients {
  float *w, *b, *scale_shift;  // w and b are [n, c], to be summed over n; scale_shift may be NULL
  float *before;               // [n, c], or NULL
};

// The gradients of group g of sample n, from the sample's 2 c sums of du and of
// du x over pixels. With y = x + added, dx = a du + slope y + offset.
IDDPM_HD void group_gradients(const GroupNormShape &s, int64_t n, int64_t g, const double *sum,
                              const GroupNormAffine &affine, const GroupNormMoments<const float> &moments,
                              const GroupNormGradients &out, float *slope, float *offset) {
  double count = static_cast<double>(s.pixels * s.width());
  double m = moments.mean[n * s.groups + g], r = moments.rstd[n * s.groups + g], of_du = 0, of_duxhat = 0;
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
    double s0 = sum[c], sx = (sum[s.c + c] + (affine.added(n, c) - m) * s0) * r;  // sums of du and of du xhat
    double gain = affine.gain(n, c);
    of_du += affine.w[c] * gain * s0;
    of_duxhat += affine.w[c] * gain * sx;
    out.w[n * s.c + c] = static_cast<float>(gain * sx);
    out.b[n * s.c + c] = static_cast<float>(gain * s0);
    if (out.scale_shift == nullptr) continue;
    out.scale_shift[2 * n * s.c + c] = static_cast<float>(affine.w[c] * sx + affine.b[c] * s0);
    out.scale_shift[(2 * n + 1) * s.c + c] = static_cast<float>(s0);
  }
  double e = -r * r * of_duxhat / count, f = -r * of_du / count - e * m;
  *slope = static_cast<float>(e);
  *offset = static_cast<float>(f);
  if (out.before == nullptr) return;
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
    double a = affine.w[c] * affine.gain(n, c) * r, y = affine.added(n, c) + moments.channel_mean[n * s.c + c];
    out.before[n * s.c + c] = static_cast<float>(a * sum[c] + static_cast<double>(s.pixels) * (e * y + f));
  }
}

}  // namespace iddpm
