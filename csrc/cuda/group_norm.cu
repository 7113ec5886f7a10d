// Group norm + scale-shift + SiLU + dropout on a GPU, in three kernels each way: sums over
// chunks of pixels, what follows from them per group, and one pass that applies
// it; or, of few pixels, in one kernel that does all three. Sums are taken in a
// fixed order, so the same input gives the same bits.
#include "group_norm_kernels.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "group_norm_parts.h"
#include "launch.h"

namespace iddpm {
namespace {

constexpr int kThreads = 256;

// ---- kernels over chunks of pixels: blockIdx.x is the task, a sample's chunk;
// threadIdx.x, with blockIdx.y, the channels; threadIdx.y the pixels

struct Place {
  int64_t task, n, chunk, c;
};

template <int V>
__device__ __forceinline__ Place place_of(const GroupNormShape &s) {
  int64_t task = blockIdx.x;
  return {task, task / s.chunks(), task % s.chunks(), (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V};
}

// Writes sums[task] = two sums per channel.
template <int V, class F>
__global__ void __launch_bounds__(kThreads) sum_chunks(GroupNormShape s, F f, float *sums) {
  __shared__ float rows[kThreads * 2 * V];
  Place at = place_of<V>(s);
  float sum[2 * V] = {};
  if (at.c < s.c) {
    f.begin(s, at.n, at.c);
    int64_t first = at.n * s.pixels + s.first(at.chunk);
    for (int64_t p = threadIdx.y; p < s.count(at.chunk); p += blockDim.y) f.add((first + p) * s.c + at.c, sum, sum + V);
  }
  for (int i = 0; i < 2 * V; ++i) rows[(threadIdx.y * blockDim.x + threadIdx.x) * 2 * V + i] = sum[i];
  __syncthreads();
  if (threadIdx.y != 0 || at.c >= s.c) return;
  for (int i = 0; i < 2 * V; ++i) {
    float total = 0;
    for (unsigned y = 0; y < blockDim.y; ++y) total += rows[(y * blockDim.x + threadIdx.x) * 2 * V + i];
    sums[(at.task * 2 + i / V) * s.c + at.c + i % V] = total;
  }
}

template <int V, class F>
__global__ void __launch_bounds__(kThreads) apply_chunks(GroupNormShape s, F f) {
  Place at = place_of<V>(s);
  if (at.c >= s.c) return;
  f.begin(s, at.n, at.c);
  int64_t first = at.n * s.pixels + s.first(at.chunk);
  for (int64_t p = threadIdx.y; p < s.count(at.chunk); p += blockDim.y) f.at((first + p) * s.c + at.c);
}

// ---- kernels over groups: a block per sample

// Adds a sample's chunks up in `sum`, 2 c numbers of shared memory.
__device__ __forceinline__ void gather(const GroupNormShape &s, int64_t n, const float *sums, double *sum) {
  for (int64_t i = threadIdx.x; i < 2 * s.c; i += blockDim.x) {
    double total = 0;
    for (int64_t t = n * s.chunks(); t < (n + 1) * s.chunks(); ++t) total += sums[t * 2 * s.c + i];
    sum[i] = total;
  }
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    finish_moments(GroupNormShape s, const T *x, const float *sums, GroupNormAffine affine, double eps,
                   GroupNormMoments<float> moments) {
  __shared__ double sum[2 * kMostNormChannels];
  int64_t n = blockIdx.x;
  gather(s, n, sums, sum);
  const T *first = x + n * s.pixels * s.c;
  auto near = [&](int64_t c) { return static_cast<float>(first[c]) + affine.added(n, c); };
  for (int64_t g = threadIdx.x; g < s.groups; g += blockDim.x) {
    group_moments(s, g, sum, near, eps, moments.mean + n * s.groups + g, moments.rstd + n * s.groups + g);
  }
  for (int64_t c = threadIdx.x; c < s.c; c += blockDim.x) {
    moments.channel_mean[n * s.c + c] = static_cast<float>(first[c]) + static_cast<float>(sum[c] / static_cast<double>(s.pixels));
  }
}

__global__ void __launch_bounds__(kThreads)
    finish_gradients(GroupNormShape s, const float *sums, GroupNormAffine affine, GroupNormMoments<const float> moments,
                     GroupNormGradients out, float *slopes) {
  __shared__ double sum[2 * kMostNormChannels];
  int64_t n = blockIdx.x;
  gather(s, n, sums, sum);
  for (int64_t g = threadIdx.x; g < s.groups; g += blockDim.x) {
    float *slope = slopes + n * s.groups + g;
    group_gradients(s, n, g, sum, affine, moments, out, slope, slope + s.n * s.groups);
  }
}

// ---- kernels for few pixels: a block takes all of a sample's, and a slab of whole
// groups of channels. What it reads twice is small enough for the first-level cache.

// Sums f over a sample's pixels into `sum`, 2 c numbers, of which a slab's are set.
template <int V, class F>
__device__ __forceinline__ void sum_slab(const GroupNormShape &s, F f, int64_t n, int64_t c, float *rows, double *sum) {
  float part[2 * V] = {};
  f.begin(s, n, c);
  for (int64_t p = threadIdx.y; p < s.pixels; p += blockDim.y) f.add((n * s.pixels + p) * s.c + c, part, part + V);
  for (int i = 0; i < 2 * V; ++i) rows[(threadIdx.y * blockDim.x + threadIdx.x) * 2 * V + i] = part[i];
  __syncthreads();
  for (unsigned i = threadIdx.y; i < 2 * V; i += blockDim.y) {
    double total = 0;
    for (unsigned y = 0; y < blockDim.y; ++y) total += rows[(y * blockDim.x + threadIdx.x) * 2 * V + i];
    sum[(i / V) * s.c + c + i % V] = total;
  }
  __syncthreads();
}

template <class F>
__device__ __forceinline__ void apply_slab(const GroupNormShape &s, F f, int64_t n, int64_t c) {
  f.begin(s, n, c);
  for (int64_t p = threadIdx.y; p < s.pixels; p += blockDim.y) f.at((n * s.pixels + p) * s.c + c);
}

// Calls f for each group of this block's slab, of so many groups.
template <class F>
__device__ __forceinline__ void for_groups(int64_t slab, F f) {
  for (int64_t i = threadIdx.y * blockDim.x + threadIdx.x; i < slab; i += blockDim.x * blockDim.y) f(blockIdx.y * slab + i);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    forward_slabs(GroupNormShape s, int64_t slab, Moments<T, V> of, double eps, GroupNormMoments<float> moments, Apply<T, V> apply) {
  __shared__ float rows[kThreads * 2 * V];
  __shared__ double sum[2 * kMostSlabChannels];
  int64_t n = blockIdx.x, c = blockIdx.y * slab * s.width() + threadIdx.x * V;
  sum_slab<V>(s, of, n, c, rows, sum);
  const T *first = of.x + n * s.pixels * s.c;
  const GroupNormAffine &affine = apply.line.affine;
  for_groups(slab, [&](int64_t g) {
    auto near = [&](int64_t i) { return static_cast<float>(first[i]) + affine.added(n, i); };
    group_moments(s, g, sum, near, eps, moments.mean + n * s.groups + g, moments.rstd + n * s.groups + g);
    for (int64_t i = g * s.width(); i < (g + 1) * s.width(); ++i) {
      moments.channel_mean[n * s.c + i] = static_cast<float>(first[i]) + static_cast<float>(sum[i] / static_cast<double>(s.pixels));
    }
  });
  __syncthreads();
  apply_slab(s, apply, n, c);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    backward_slabs(GroupNormShape s, int64_t slab, GradientSums<T, V> of, GroupNormGradients out, float *slopes, InputGradient<T, V> input) {
  __shared__ float rows[kThreads * 2 * V];
  __shared__ double sum[2 * kMostSlabChannels];
  int64_t n = blockIdx.x, c = blockIdx.y * slab * s.width() + threadIdx.x * V;
  sum_slab<V>(s, of, n, c, rows, sum);
  for_groups(slab, [&](int64_t g) {
    float *slope = slopes + n * s.groups + g;
    group_gradients(s, n, g, sum, of.line.affine, of.line.moments, out, slope, slope + s.n * s.groups);
  });
  __syncthreads();
  apply_slab(s, input, n, c);
}

// ---- launches

// The grid of the kernels for few pixels.
template <int V>
struct SlabGrid {
  static constexpr int64_t kMostPixels = 256, kLeastChannels = 64;

  explicit SlabGrid(const GroupNormShape &s) : groups(1) {
    while (groups < s.groups && (s.groups % groups != 0 || groups * s.width() % V != 0 || groups * s.width() < kLeastChannels)) ++groups;
    lanes = groups * s.width() / V;
    fits = s.pixels <= kMostPixels && s.c <= kMostSlabChannels && lanes <= kThreads / 4;
    block = dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(fits ? kThreads / lanes : 1));
    grid = dim3(static_cast<unsigned>(s.n), static_cast<unsigned>(s.groups / groups));
  }
  int64_t groups, lanes;  // of a slab: the fewest groups that split in packs and fill a pixel's part of memory well
  bool fits;
  dim3 grid, block;
};

// The grid of the kernels over chunks.
template <int V>
struct Grid {
  explicit Grid(const GroupNormShape &s) {
    int64_t packs = (s.c + V - 1) / V, lanes = packs < 32 ? packs : 32;
    block = dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(kThreads / lanes));
    grid = dim3(static_cast<unsigned>(s.tasks()), static_cast<unsigned>((packs + lanes - 1) / lanes));
  }
  dim3 grid, block;
};

template <int V>
Line<V> line_of(const GroupNormAffine &affine, const GroupNormMoments<const float> &moments, const GroupNormEnd &end) {
  return {affine, moments, End(end), {}, {}, 0, 0};
}

template <class T, int V>
cudaError_t forward(const GroupNormShape &s, const T *x, const GroupNormAffine &affine, double eps, const GroupNormEnd &end,
                    float *sums, const GroupNormMoments<float> &moments, T *y, cudaStream_t stream) {
  Moments<T, V> of{x, {}};
  Apply<T, V> apply{x, y, line_of<V>(affine, {moments.mean, moments.rstd, moments.channel_mean}, end)};
  if (SlabGrid<V> slabs(s); slabs.fits) {
    return launch(forward_slabs<T, V>, slabs.grid, slabs.block, stream, s, slabs.groups, of, eps, moments, apply);
  }
  Grid<V> chunks(s);
  dim3 samples(static_cast<unsigned>(s.n)), block(kThreads);
  cudaError_t e = launch(sum_chunks<V, Moments<T, V>>, chunks.grid, chunks.block, stream, s, of, sums);
  if (e == cudaSuccess) e = launch(finish_moments<T>, samples, block, stream, s, x, sums, affine, eps, moments);
  if (e != cudaSuccess) return e;
  return launch(apply_chunks<V, Apply<T, V>>, chunks.grid, chunks.block, stream, s, apply);
}

template <class T, int V>
cudaError_t backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                     const GroupNormMoments<const float> &moments, const GroupNormEnd &end, float *sums, float *slopes,
                     const GroupNormGradients &out, cudaStream_t stream) {
  Line<V> line = line_of<V>(affine, moments, end);
  GradientSums<T, V> of{flow.x, flow.dy, line};
  InputGradient<T, V> input{flow, slopes, line, {}, {}};
  if (SlabGrid<V> slabs(s); slabs.fits) {
    return launch(backward_slabs<T, V>, slabs.grid, slabs.block, stream, s, slabs.groups, of, out, slopes, input);
  }
  Grid<V> chunks(s);
  dim3 samples(static_cast<unsigned>(s.n)), block(kThreads);
  cudaError_t e = launch(sum_chunks<V, GradientSums<T, V>>, chunks.grid, chunks.block, stream, s, of, sums);
  if (e == cudaSuccess) e = launch(finish_gradients, samples, block, stream, s, sums, affine, moments, out, slopes);
  if (e != cudaSuccess) return e;
  return launch(apply_chunks<V, InputGradient<T, V>>, chunks.grid, chunks.block, stream, s, input);
}

}  // namespace

template <class T>
cudaError_t launch_group_norm_forward(const GroupNormShape &s, const T *x, const GroupNormAffine &affine, double eps,
                                      const GroupNormEnd &end, float *sums, const GroupNormMoments<float> &moments, T *y,
                                      cudaStream_t stream) {
  constexpr int V = kPack<T>;
  return packs<T, V>(s.c, x, y, nullptr) ? forward<T, V>(s, x, affine, eps, end, sums, moments, y, stream)
                                       : forward<T, 1>(s, x, affine, eps, end, sums, moments, y, stream);
}

template <class T>
cudaError_t launch_group_norm_backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                                       const GroupNormMoments<const float> &moments, const GroupNormEnd &end, float *sums,
                                       float *slopes, const GroupNormGradients &out, cudaStream_t stream) {
  constexpr int V = kPack<T>;
  return packs<T, V>(s.c, flow.x, flow.dy, flow.dx) && packs<T, V>(s.c, flow.more, nullptr, nullptr)
             ? backward<T, V>(s, flow, affine, moments, end, sums, slopes, out, stream)
             : backward<T, 1>(s, flow, affine, moments, end, sums, slopes, out, stream);
}

#define IDDPM_INSTANCES(T)                                                                                                           \
  template cudaError_t launch_group_norm_forward(const GroupNormShape &, const T *, const GroupNormAffine &, double,                 \
                                                 const GroupNormEnd &, float *, const GroupNormMoments<float> &, T *, cudaStream_t); \
  template cudaError_t launch_group_norm_backward(const GroupNormShape &, const GroupNormFlow<T> &, const GroupNormAffine &,         \
                                                  const GroupNormMoments<const float> &, const GroupNormEnd &, float *, float *,     \
                                                  const GroupNormGradients &, cudaStream_t);
IDDPM_INSTANCES(float)
IDDPM_INSTANCES(c10::BFloat16)
IDDPM_INSTANCES(c10::Half)
#undef IDDPM_INSTANCES

}  // namespace iddpm
