// Helpers for loops that the compiler vectorises for the processor at run time: the
// library is built for any x86-64, and the hot loops are compiled for three instruction
// sets.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#define IDDPM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define IDDPM_CLONES
#endif
#define IDDPM_INLINE inline __attribute__((always_inline))

namespace iddpm {

IDDPM_INLINE float bits_to_float(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

IDDPM_INLINE uint32_t float_to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

IDDPM_INLINE float load(const float *p) { return *p; }

IDDPM_INLINE float load(const at::BFloat16 *p) { return bits_to_float(static_cast<uint32_t>(p->x) << 16); }

IDDPM_INLINE void store(float *p, float v) { *p = v; }

// Rounds to nearest, ties to even; keeps NaN.
IDDPM_INLINE void store(at::BFloat16 *p, float v) {
  uint32_t u = float_to_bits(v);
  uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  p->x = static_cast<uint16_t>(v == v ? rounded : 0x7FC0u);
}

// e^v within 2 units in the last place, by 2^n times a polynomial on
// [-ln 2 / 2, ln 2 / 2] (coefficients: Cephes, expf). Saturates like float, and keeps NaN.
IDDPM_INLINE float exp_approx(float v) {
  v = v > 88.0f ? 88.0f : v;
  v = v < -87.0f ? -87.0f : v;
  float n = v * 1.44269504f;
  n = (n + 12582912.0f) - 12582912.0f;  // rounds to an integer
  float r = v - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * bits_to_float(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

IDDPM_INLINE float sigmoid(float v) { return 1.0f / (1.0f + exp_approx(-v)); }

}  // namespace iddpm
