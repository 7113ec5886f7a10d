// What a thread of the kernels in group_norm.cu, which alone includes this, does with
// its channels. It owns V neighbouring ones, which it loads and stores at once.
#pragma once

#include "group_norm_kernels.h"
#include "pack.h"

namespace iddpm {
namespace {

__device__ __forceinline__ float sigmoid(float u) { return 1.0f / (1.0f + expf(-u)); }

// f and m of GroupNormEnd.
struct End {
  bool silu;
  float drop, keep;  // the rate, and what m is of an element that stays
  PhiloxKey key;

  explicit End(const GroupNormEnd &end)
      : silu(end.silu), drop(static_cast<float>(end.drop)), keep(static_cast<float>(1.0 / (1.0 - end.drop))), key(end.key) {}

  __device__ float f(float u) const { return silu ? u * sigmoid(u) : u; }

  // dy f'(u).
  __device__ float through(float u, float dy) const {
    if (!silu) return dy;
    float s = sigmoid(u);
    return dy * s * (1.0f + u * (1.0f - s));
  }

  // Multiplies V neighbouring values of sample n by m; the first of them is the
  // sample's element j, a multiple of 4 unless V is 1.
  template <int V>
  __device__ void mask(int64_t n, int64_t j, float *v) const {
    if (drop == 0.0f) return;
    for (int i = 0; i < V; i += 4) {
      Philox4 bits = key.quad(n, (j + i) / 4);
      for (int k = 0; k < 4 && i + k < V; ++k) v[i + k] *= unit_float(bits.v[V == 1 ? j % 4 : k]) < drop ? 0.0f : keep;
    }
  }
};

// ---- what a thread does with its channels. Each of these is copied into every
// thread, begins with a sample and a channel, and then sees offsets into x.

// The sums of x - k and of (x - k)^2, k being the sample's first pixel.
template <class T, int V>
struct Moments {
  const T *x;
  float k[V];

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) { load<T, V>(x + n * s.pixels * s.c + c, k); }
  __device__ void add(int64_t at, float *s0, float *s1) const {
    float v[V];
    load<T, V>(x + at, v);
    for (int i = 0; i < V; ++i) {
      float d = v[i] - k[i];
      s0[i] += d;
      s1[i] += d * d;
    }
  }
};

// y = f(u) m, u = a x + d.
template <int V>
struct Line {
  GroupNormAffine affine;
  GroupNormMoments<const float> moments;
  End end;
  float a[V], d[V];

  int64_t sample, first;  // and the sample's first offset

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    sample = n;
    first = n * s.pixels * s.c;
    for (int i = 0; i < V; ++i) affine.at(s, n, c + i, moments.mean, moments.rstd, a + i, d + i);
  }
  // y of the x at this offset.
  __device__ void forward(int64_t at, float *v) const {
    for (int i = 0; i < V; ++i) v[i] = end.f(a[i] * v[i] + d[i]);
    end.template mask<V>(sample, at - first, v);
  }
  // du of the x and dy at this offset.
  __device__ void backward(int64_t at, const float *v, float *g) const {
    end.template mask<V>(sample, at - first, g);
    for (int i = 0; i < V; ++i) g[i] = end.through(a[i] * v[i] + d[i], g[i]);
  }
};

template <class T, int V>
struct Apply {
  const T *x;
  T *y;
  Line<V> line;

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) { line.begin(s, n, c); }
  __device__ void at(int64_t at) const {
    float v[V];
    load<T, V>(x + at, v);
    line.forward(at, v);
    store<T, V>(y + at, v);
  }
};

// The sums of du and of du x.
template <class T, int V>
struct GradientSums {
  const T *x, *dy;
  Line<V> line;

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) { line.begin(s, n, c); }
  __device__ void add(int64_t at, float *s0, float *s1) const {
    float v[V], g[V];
    load<T, V>(x + at, v);
    load<T, V>(dy + at, g);
    line.backward(at, v, g);
    for (int i = 0; i < V; ++i) {
      s0[i] += g[i];
      s1[i] += g[i] * v[i];
    }
  }
};

// dx = a du + slope x + offset + more.
template <class T, int V>
struct InputGradient {
  GroupNormFlow<T> flow;
  const float *slopes;  // [n, groups], and as many offsets after them
  Line<V> line;
  float slope[V], offset[V];

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    line.begin(s, n, c);
    for (int i = 0; i < V; ++i) {
      int64_t g = n * s.groups + (c + i) / s.width();
      slope[i] = slopes[g];
      offset[i] = slopes[s.n * s.groups + g] + slope[i] * line.affine.added(n, c + i);
    }
  }
  __device__ void at(int64_t at) const {
    float v[V], g[V];
    load<T, V>(flow.x + at, v);
    load<T, V>(flow.dy + at, g);
    line.backward(at, v, g);
    for (int i = 0; i < V; ++i) v[i] = line.a[i] * g[i] + slope[i] * v[i] + offset[i];
    if (flow.more != nullptr) {
      load<T, V>(flow.more + at, g);
      for (int i = 0; i < V; ++i) v[i] += g[i];
    }
    store<T, V>(flow.dx + at, v);
  }
};

}  // namespace
}  // namespace iddpm
