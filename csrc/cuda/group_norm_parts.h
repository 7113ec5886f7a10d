// The work of a thread of the kernels in group_norm.cu, the only file that includes this.
// A thread has V adjacent channels, which it loads and stores together. In a tensor of two
// parts, all V are in one part.
#pragma once

#include "group_norm_kernels.h"
#include "pack.h"

namespace iddpm {
namespace {

// For float32 as accurate as libtorch's. Otherwise with the fast exponential and division,
// with errors of some 2e-6: they have no slow paths, which would serialise a pack's values.
template <class T>
__device__ __forceinline__ float sigmoid(float u) {
  if (sizeof(T) == sizeof(float)) return 1.0f / (1.0f + expf(-u));
  return __fdividef(1.0f, 1.0f + __expf(-u));
}

// f and m of GroupNormActivation, for activations of type T.
template <class T>
struct End {
  bool silu;
  float drop, keep;  // the rate, and the value of m for a kept element
  PhiloxKey key;

  explicit End(const GroupNormActivation &end)
      : silu(end.silu), drop(static_cast<float>(end.drop)), keep(static_cast<float>(1.0 / (1.0 - end.drop))), key(end.key) {}

  // u becomes f(u).
  template <int V>
  __device__ __forceinline__ void f(float *u) const {
    if (!silu) return;
    for (int i = 0; i < V; ++i) u[i] *= sigmoid<T>(u[i]);
  }

  // dy becomes dy f'(u).
  template <int V>
  __device__ __forceinline__ void through(const float *u, float *dy) const {
    if (!silu) return;
    for (int i = 0; i < V; ++i) {
      float s = sigmoid<T>(u[i]);
      dy[i] *= s * (1.0f + u[i] * (1.0f - s));
    }
  }

  // Multiplies V adjacent values of sample n by m, from the sample's element j on; j is a
  // multiple of 4 unless V is 1.
  template <int V>
  __device__ __forceinline__ void mask(int64_t n, int64_t j, float *v) const {
    if (drop == 0.0f) return;
    for (int i = 0; i < V; i += 4) {
      Philox4 bits = key.quad(n, (j + i) / 4);
      for (int k = 0; k < 4 && i + k < V; ++k) v[i + k] *= unit_float(bits.v[V == 1 ? j % 4 : k]) < drop ? 0.0f : keep;
    }
  }
};

// A thread's channels of a tensor.
template <class T>
struct Column {
  T *first;
  int64_t stride;  // from pixel to pixel

  __device__ T *at(int64_t pixel) const { return first + pixel * stride; }
};

template <class T>
__device__ __forceinline__ Column<T> column(const GroupNormShape &s, T *x, int64_t c) {
  return {x + c, s.c};
}

template <class T>
__device__ __forceinline__ Column<T> column(const GroupNormShape &s, const GroupNormParts<T> &x, int64_t c) {
  if (c < x.split) return {x.first + c, x.split};
  return {x.rest + (c - x.split), s.c - x.split};
}

// ---- per-thread functors. Each thread has a copy, which begins with a sample and a
// channel. For each pixel it first fetches its values and later applies them, so that
// several loads are in flight.

// The sums of x - k and of (x - k)^2, k being the sample's first pixel.
template <class T, int V>
struct Moments {
  GroupNormParts<const T> x;
  Column<const T> xs;
  float k[V];

  using Fetched = Pack<T, V>;

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    xs = column(s, x, c);
    load<T, V>(xs.at(n * s.pixels), k);
  }
  __device__ Fetched fetch(int64_t pixel) const { return fetch_pack<T, V>(xs.at(pixel)); }
  __device__ void add(int64_t, const Fetched &x, float *s0, float *s1) const {
    for (int i = 0; i < V; ++i) {
      float d = static_cast<float>(x.v[i]) - k[i];
      s0[i] += d;
      s1[i] += d * d;
    }
  }
};

// y = f(u) m, u = a x + d.
template <class T, int V>
struct Line {
  const float *table;  // GroupNormMoments::line
  End<T> end;
  float a[V], d[V];
  int64_t sample, element, channels;  // element: index in the sample, less the offset of the sample's pixel 0

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    sample = n;
    element = c - n * s.pixels * s.c;
    channels = s.c;
    end.key = end.key.now();
    load<float, V>(table + 2 * n * s.c + c, a);
    load<float, V>(table + (2 * n + 1) * s.c + c, d);
  }
  // Replaces v, the x at this pixel, by y.
  __device__ __forceinline__ void forward(int64_t pixel, float *v) const {
    for (int i = 0; i < V; ++i) v[i] = a[i] * v[i] + d[i];
    end.template f<V>(v);
    end.template mask<V>(sample, pixel * channels + element, v);
  }
  // Replaces g, the dy at this pixel, by du.
  __device__ __forceinline__ void backward(int64_t pixel, const float *v, float *g) const {
    float u[V];
    end.template mask<V>(sample, pixel * channels + element, g);
    for (int i = 0; i < V; ++i) u[i] = a[i] * v[i] + d[i];
    end.template through<V>(u, g);
  }
};

template <class T, int V>
struct Apply {
  GroupNormParts<const T> x;
  T *concat, *y;  // concat: destination of the concatenated x, or NULL
  Line<T, V> line;
  Column<const T> xs;
  Column<T> concat_column, ys;

  using Fetched = Pack<T, V>;

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    line.begin(s, n, c);
    xs = column(s, x, c);
    concat_column = column(s, concat, c);
    ys = column(s, y, c);
  }
  __device__ Fetched fetch(int64_t pixel) const { return fetch_pack<T, V>(xs.at(pixel)); }
  __device__ void apply(int64_t pixel, const Fetched &x) const {
    float v[V];
    unpack(x, v);
    if (concat != nullptr) *reinterpret_cast<Fetched *>(concat_column.at(pixel)) = x;
    line.forward(pixel, v);
    store<T, V>(ys.at(pixel), v);
  }
};

// The sums of du and of du x.
template <class T, int V>
struct GradientSums {
  const T *x, *dy;
  Line<T, V> line;
  Column<const T> xs, dys;

  struct Fetched {
    Pack<T, V> x, dy;
  };

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    line.begin(s, n, c);
    xs = column(s, x, c);
    dys = column(s, dy, c);
  }
  __device__ Fetched fetch(int64_t pixel) const { return {fetch_pack<T, V>(xs.at(pixel)), fetch_pack<T, V>(dys.at(pixel))}; }
  __device__ void add(int64_t pixel, const Fetched &at, float *s0, float *s1) const {
    float v[V], g[V];
    unpack(at.x, v);
    unpack(at.dy, g);
    line.backward(pixel, v, g);
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
  const float *slopes;  // [n, 2, c], as channel_slope writes them
  Line<T, V> line;
  float slope[V], offset[V];
  Column<const T> xs, dys, mores;
  Column<T> dxs;

  struct Fetched {
    Pack<T, V> x, dy, more;
  };

  __device__ void begin(const GroupNormShape &s, int64_t n, int64_t c) {
    line.begin(s, n, c);
    xs = column(s, flow.x, c);
    dys = column(s, flow.dy, c);
    mores = column(s, flow.more, c);
    dxs = column(s, flow.dx, c);
    load<float, V>(slopes + 2 * n * s.c + c, slope);
    load<float, V>(slopes + (2 * n + 1) * s.c + c, offset);
  }
  __device__ Fetched fetch(int64_t pixel) const {
    Fetched at{fetch_pack<T, V>(xs.at(pixel)), fetch_pack<T, V>(dys.at(pixel)), {}};
    if (flow.more != nullptr) at.more = fetch_pack<T, V>(mores.at(pixel));
    return at;
  }
  __device__ void apply(int64_t pixel, const Fetched &at) const {
    float v[V], g[V];
    unpack(at.x, v);
    unpack(at.dy, g);
    line.backward(pixel, v, g);
    for (int i = 0; i < V; ++i) v[i] = line.a[i] * g[i] + slope[i] * v[i] + offset[i];
    if (flow.more != nullptr) {
      unpack(at.more, g);
      for (int i = 0; i < V; ++i) v[i] += g[i];
    }
    store<T, V>(dxs.at(pixel), v);
  }
};

}  // namespace
}  // namespace iddpm
