// Counter-based random numbers (Salmon et al. 2011, Philox4x32-10): element j of
// sample n is a function of (seed, stream, step, first_sample + n, j) only. So the
// noise of an image does not depend on how a batch is split over microbatches, ranks
// or threads, and a recomputed block draws the same dropout mask.
//
// j counts elements in memory order: channels-last for [N, C, H, W], row-major
// for every other rank.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace iddpm {

struct Philox4 {
  uint32_t v[4];
};

// Ten rounds over counter (quad, sample, step, stream ^ high bits of sample).
IDDPM_HD Philox4 philox4(uint64_t seed, uint32_t stream, uint32_t step, uint64_t sample, uint32_t quad) {
  uint32_t c0 = quad, c1 = static_cast<uint32_t>(sample), c2 = step;
  uint32_t c3 = stream ^ (static_cast<uint32_t>(sample >> 32) * 0x85EBCA6Bu);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// gt_philox_key, and the address of an int64 that is added to the step when numbers are
// drawn: in the memory of the device that draws, or NULL. So a captured graph can be
// replayed with the numbers of another step.
struct PhiloxKey {
  uint64_t seed;
  uint32_t stream;
  uint32_t step;
  int64_t first_sample;
  const int64_t *step_of = nullptr;

  IDDPM_HD uint32_t step_now() const { return step_of == nullptr ? step : step + static_cast<uint32_t>(*step_of); }

  // The key with the current step.
  IDDPM_HD PhiloxKey now() const { return {seed, stream, step_now(), first_sample}; }

  // The bits of elements 4 q to 4 q + 3 of row n.
  IDDPM_HD Philox4 quad(int64_t n, int64_t q) const {
    return philox4(seed, stream, step_now(), static_cast<uint64_t>(first_sample + n), static_cast<uint32_t>(q));
  }
};

// In (0, 1): never 0, so that its logarithm is finite.
IDDPM_HD float unit_float(uint32_t bits) { return (static_cast<float>(bits >> 9) + 0.5f) * (1.0f / 8388608.0f); }

// Two uniforms to two normals (Box & Muller 1958).
IDDPM_HD void box_muller(uint32_t a, uint32_t b, float *out) {
  float r = sqrtf(-2.0f * logf(unit_float(a)));
  float angle = 6.283185307179586f * unit_float(b);
  out[0] = r * cosf(angle);
  out[1] = r * sinf(angle);
}

// A quad's bits to four normals.
IDDPM_HD void normals(const Philox4 &bits, float *out) {
  box_muller(bits.v[0], bits.v[1], out);
  box_muller(bits.v[2], bits.v[3], out + 2);
}

}  // namespace iddpm

#if !defined(__CUDACC__)
#include <ATen/ATen.h>

#include "../iddpm.h"

namespace iddpm {

// Standard normal.
at::Tensor philox_normal(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const PhiloxKey &key);

// Uniform on (0, 1).
at::Tensor philox_uniform(at::IntArrayRef shape, at::ScalarType dtype, at::Device device, const PhiloxKey &key);

// Memory for random numbers: channels-last for [N, C, H, W], else row-major.
at::Tensor philox_empty(at::IntArrayRef shape, at::ScalarType dtype, at::Device device);

// Number of consecutive elements that the CPU draws at a time.
constexpr int64_t kPhiloxRun = 128;

// The numbers of philox_normal for elements first to first + count - 1 of row n; first is
// a multiple of kPhiloxRun, and count at most kPhiloxRun.
void philox_normal_run(const PhiloxKey &key, int64_t n, int64_t first, int64_t count, float *out);

// Converts the ABI's key. step_of is undefined, or one int64 on the device that draws; it
// must outlive the backward pass.
PhiloxKey philox_key(const gt_philox_key &key, const at::Tensor &step_of, at::Device device);

// x * mask / (1 - p); each element is kept with probability 1 - p.
at::Tensor philox_dropout(const at::Tensor &x, double p, const PhiloxKey &key);

}  // namespace iddpm
#endif
