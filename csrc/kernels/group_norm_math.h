// Shared by the CPU and CUDA kernels of group norm: from sums over a sample's channels to
// the moments of its groups and to gradients.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"
#include "philox.h"

namespace iddpm {

// Activations [n, pixels, c]; a pixel is c contiguous values. The pixels of a sample are
// summed in chunks of a fixed size, so that sums do not depend on the number of threads.
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
  IDDPM_HD int64_t group(int64_t channel) const { return channel / width(); }
};

// What follows the affine map: f is SiLU if `silu` is set, else the identity; m is the
// scaled mask of philox_dropout for this rate and key, 1 for the rate 0.
struct GroupNormActivation {
  bool silu;
  double drop;
  PhiloxKey key;
};

// The affine map's parameters.
struct GroupNormAffine {
  const float *w, *b, *scale_shift;  // [c], [c], [n, 2 c] or NULL
  int64_t scale_stride;              // from one row of scale_shift to the next
  const float *input_bias;           // added to x first, or NULL
  int64_t input_bias_stride;         // from one row to the next if it is [n, c], 0 if it is [c]

  IDDPM_HD float added(int64_t n, int64_t c) const { return input_bias == nullptr ? 0.0f : input_bias[n * input_bias_stride + c]; }

  IDDPM_HD float gain(int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 1.0f : 1.0f + scale_shift[n * scale_stride + c];
  }
  IDDPM_HD float shift(const GroupNormShape &s, int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 0.0f : scale_shift[n * scale_stride + s.c + c];
  }
};

// What the backward pass needs from the forward pass.
template <class Float>
struct GroupNormMoments {
  Float *mean, *rstd;   // of x + input_bias, [n, groups]
  Float *channel_mean;  // of x, [n, c]
  Float *line;          // [n, 2, c]: a and d of u = a x + d
};

// A sample's two sums per channel, for `count` channels from `base` on, contiguous.
struct GroupNormSums {
  double *data;
  int64_t base, count;
  IDDPM_HD double &first(int64_t c) const { return data[c - base]; }
  IDDPM_HD double &second(int64_t c) const { return data[count + c - base]; }
};

// ---- from sums to the line u = a x + d, in three steps. Each step needs the previous one
// to be complete for all channels or groups.

// From the sums of x - k and of (x - k)^2 to the mean of x + added, and the sum of squared
// deviations from it. A k near the mean avoids cancellation when the mean is large.
IDDPM_HD void channel_moments(const GroupNormShape &s, int64_t c, double k, double added, const GroupNormSums &sums) {
  double off = sums.first(c) / static_cast<double>(s.pixels);
  sums.second(c) -= sums.first(c) * off;
  sums.first(c) = k + off + added;
}

// Mean and 1 / standard deviation of group g.
IDDPM_HD void group_moments(const GroupNormShape &s, int64_t n, int64_t g, const GroupNormSums &sums, double eps,
                            const GroupNormMoments<float> &moments) {
  double mean = 0, squares = 0, pixels = static_cast<double>(s.pixels), width = static_cast<double>(s.width());
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) mean += sums.first(c);
  mean /= width;
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
    double off = sums.first(c) - mean;
    squares += sums.second(c) + pixels * off * off;
  }
  double variance = squares / (pixels * width);
  if (variance < 0) variance = 0;  // a NaN stays one
  moments.mean[n * s.groups + g] = static_cast<float>(mean);
  moments.rstd[n * s.groups + g] = static_cast<float>(1.0 / sqrt(variance + eps));
}

IDDPM_HD void channel_line(const GroupNormShape &s, int64_t n, int64_t c, const GroupNormSums &sums, const GroupNormAffine &affine,
                           const GroupNormMoments<float> &moments) {
  int64_t g = n * s.groups + s.group(c);
  float gain = affine.gain(n, c), a = affine.w[c] * gain * moments.rstd[g];
  moments.channel_mean[n * s.c + c] = static_cast<float>(sums.first(c) - static_cast<double>(affine.added(n, c)));
  moments.line[2 * n * s.c + c] = a;
  moments.line[(2 * n + 1) * s.c + c] = affine.b[c] * gain + affine.shift(s, n, c) + (affine.added(n, c) - moments.mean[g]) * a;
}

// ---- from sums to gradients, in three steps. With y = x + added,
// dx = a du + slope y + offset.

// Destinations of the parameters' gradients.
struct GroupNormGradients {
  float *w, *b, *scale_shift;  // w and b are [n, c], to be summed over n; scale_shift may be NULL
  float *input_bias;           // [n, c], or NULL
};

struct GroupNormSlope {
  double slope, offset;
};

// From the sums of du and of du x to those of du and of du xhat.
IDDPM_HD void channel_gradients(const GroupNormShape &s, int64_t n, int64_t c, const GroupNormSums &sums, const GroupNormAffine &affine,
                                const GroupNormMoments<const float> &moments, const GroupNormGradients &out) {
  int64_t g = n * s.groups + s.group(c);
  double m = moments.mean[g], r = moments.rstd[g], gain = affine.gain(n, c), du = sums.first(c);
  double duxhat = (sums.second(c) + (affine.added(n, c) - m) * du) * r;
  sums.second(c) = duxhat;
  out.w[n * s.c + c] = static_cast<float>(gain * duxhat);
  out.b[n * s.c + c] = static_cast<float>(gain * du);
  if (out.scale_shift == nullptr) return;
  out.scale_shift[2 * n * s.c + c] = static_cast<float>(affine.w[c] * duxhat + affine.b[c] * du);
  out.scale_shift[(2 * n + 1) * s.c + c] = static_cast<float>(du);
}

IDDPM_HD GroupNormSlope group_slope(const GroupNormShape &s, int64_t n, int64_t g, const GroupNormSums &sums, const GroupNormAffine &affine,
                                    const GroupNormMoments<const float> &moments) {
  double m = moments.mean[n * s.groups + g], r = moments.rstd[n * s.groups + g], of_du = 0, of_duxhat = 0;
  for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
    double weight = static_cast<double>(affine.w[c]) * affine.gain(n, c);
    of_du += weight * sums.first(c);
    of_duxhat += weight * sums.second(c);
  }
  double factor = r / static_cast<double>(s.pixels * s.width()), slope = -r * of_duxhat * factor;
  return {slope, -of_du * factor - slope * m};
}

// slopes is [n, 2, c]: the factor of x in dx, and the constant.
IDDPM_HD void channel_slope(const GroupNormShape &s, int64_t n, int64_t c, const GroupNormSums &sums, const GroupNormSlope &of,
                            const GroupNormAffine &affine, const GroupNormMoments<const float> &moments, float *slopes, float *input_bias) {
  double added = affine.added(n, c);
  slopes[2 * n * s.c + c] = static_cast<float>(of.slope);
  slopes[(2 * n + 1) * s.c + c] = static_cast<float>(of.offset + of.slope * added);
  if (input_bias == nullptr) return;
  double a = static_cast<double>(affine.w[c]) * affine.gain(n, c) * moments.rstd[n * s.groups + s.group(c)];
  double y = added + moments.channel_mean[n * s.c + c];
  input_bias[n * s.c + c] = static_cast<float>(a * sums.first(c) + static_cast<double>(s.pixels) * (of.slope * y + of.offset));
}

}  // namespace iddpm
