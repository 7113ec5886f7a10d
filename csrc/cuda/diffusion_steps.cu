// Steps of the diffusion process on a GPU: a thread computes a step for four elements, and
// draws the noise of q(x_t | x_0) in registers.
#include "diffusion_steps_kernels.h"

#include "quads.h"

namespace iddpm {
namespace {

template <bool kWhole>
struct QSample {
  PhiloxShape shape;
  QSampleInputs in;
  float *x_t, *noise;

  __device__ void operator()(int64_t n, int64_t q, int count) const {
    int64_t at = n * shape.row + 4 * q;
    float x[4], z[4];
    load_quad<kWhole>(in.x_start + at, count, x);
    normals(in.key.quad(n, q), z);
    for (int k = 0; k < 4; ++k) x[k] = in.rows[n].x_t(x[k], z[k]);
    store_quad<kWhole>(noise + at, count, z);
    store_quad<kWhole>(x_t + at, count, x);
  }
};

template <bool kWhole>
struct ReverseStep {
  ImageShape s;
  ReverseInputs in;
  float *previous, *x_start;

  // Reads the network's output for a quad: the prediction, and the variance output or 0.
  __device__ void read_output(int64_t n, int64_t q, int count, float *prediction, float *v) const {
    if (!s.learned) return load_quad<kWhole>(in.out + n * s.elements() + 4 * q, count, prediction);
    OutputCursor at(s, n, 4 * q);
    for (int k = 0; k < count; ++k, at.next(s)) {
      prediction[k] = in.out[at.prediction];
      v[k] = in.out[at.prediction + s.c];
    }
  }

  __device__ void operator()(int64_t n, int64_t q, int count) const {
    const ReverseRow r = in.rows[n];
    int64_t at = n * s.elements() + 4 * q;
    float x[4], prediction[4] = {}, v[4] = {}, first[4], z[4] = {};
    load_quad<kWhole>(in.x + at, count, x);
    read_output(n, q, count, prediction, v);
    if (in.noise != nullptr) load_quad<kWhole>(in.noise + at, count, z);
    for (int k = 0; k < 4; ++k) {
      first[k] = r.x_start(x[k], prediction[k], in.clip);
      x[k] = r.mean(first[k], x[k], prediction[k]);
      if (in.noise != nullptr) x[k] += r.deviation(v[k]) * z[k];
    }
    store_quad<kWhole>(x_start + at, count, first);
    store_quad<kWhole>(previous + at, count, x);
  }
};

bool whole(const ImageShape &s, const void *p, const void *q, const void *r) { return packs<float, 4>(s.elements(), p, q, r); }

}  // namespace

cudaError_t launch_q_sample(const ImageShape &s, const QSampleInputs &in, float *x_t, float *noise, cudaStream_t stream) {
  PhiloxShape shape{s.n, s.elements()};
  if (whole(s, in.x_start, x_t, noise)) return launch_quads(shape, stream, QSample<true>{shape, in, x_t, noise});
  return launch_quads(shape, stream, QSample<false>{shape, in, x_t, noise});
}

cudaError_t launch_reverse_step(const ImageShape &s, const ReverseInputs &in, float *previous, float *x_start,
                                cudaStream_t stream) {
  PhiloxShape shape{s.n, s.elements()};
  if (whole(s, in.x, previous, x_start) && whole(s, s.learned ? nullptr : in.out, in.noise, nullptr)) {
    return launch_quads(shape, stream, ReverseStep<true>{s, in, previous, x_start});
  }
  return launch_quads(shape, stream, ReverseStep<false>{s, in, previous, x_start});
}

}  // namespace iddpm
