// Group norm + scale-shift + SiLU + dropout on a GPU. Forward and backward pass have three
// kernels each: sums over chunks of pixels, moments or gradients per group, and one pass
// that applies them. For few pixels one kernel does all three. Sums have a fixed order, so
// results are deterministic.
#include "group_norm_kernels.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "group_norm_parts.h"
#include "launch.h"

namespace iddpm {
namespace {

constexpr int kThreads = 256;

// Minimum resident blocks per multiprocessor for the memory-bound kernels: with three, a
// thread may use 80 registers. The gradient for 16-bit input needs some 110.
constexpr int kBlocks = 3;
template <class T>
constexpr int kGradientBlocks = sizeof(T) == 2 ? 2 : kBlocks;

// ---- a thread's pixels: every blockDim.y-th of `count` from `first` on, two loads in flight

template <class F>
__device__ __forceinline__ void sum_pixels(const F &f, int64_t first, int64_t count, float *s0, float *s1) {
  int64_t p = threadIdx.y, step = blockDim.y;
  for (; p + step < count; p += 2 * step) {
    auto one = f.fetch(first + p), two = f.fetch(first + p + step);
    f.add(first + p, one, s0, s1);
    f.add(first + p + step, two, s0, s1);
  }
  if (p < count) f.add(first + p, f.fetch(first + p), s0, s1);
}

template <class F>
__device__ __forceinline__ void for_pixels(const F &f, int64_t first, int64_t count) {
  int64_t p = threadIdx.y, step = blockDim.y;
  for (; p + step < count; p += 2 * step) {
    auto one = f.fetch(first + p), two = f.fetch(first + p + step);
    f.apply(first + p, one);
    f.apply(first + p + step, two);
  }
  if (p < count) f.apply(first + p, f.fetch(first + p));
}

// Adds the sums of the threads with the same channels, in the order of threadIdx.y, and
// calls write(i, total) for the i-th of the 2 V sums of this thread's channels.
// `rows` has space for all; its layout avoids bank conflicts.
template <int V, class Write>
__device__ __forceinline__ void join_rows(const float *sum, float *rows, Write write) {
  unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  for (int i = 0; i < 2 * V; ++i) rows[i * kThreads + thread] = sum[i];
  __syncthreads();
  for (unsigned i = threadIdx.y; i < 2 * V; i += blockDim.y) {
    double total = 0;
    for (unsigned y = 0; y < blockDim.y; ++y) total += rows[i * kThreads + y * blockDim.x + threadIdx.x];
    write(i, total);
  }
}

// ---- steps of group_norm_math.h for some of a sample's groups, with a thread per channel
// or group

struct Slab {
  int64_t n, first, groups;  // sample, first group, number of groups

  __device__ int64_t channel(const GroupNormShape &s) const { return first * s.width(); }
  __device__ int64_t channels(const GroupNormShape &s) const { return groups * s.width(); }
};

__device__ __forceinline__ int64_t thread_of_block() { return threadIdx.y * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t block_size() { return blockDim.x * blockDim.y; }

// Calls f for each channel, distributed over the threads.
template <class F>
__device__ __forceinline__ void for_channels(const GroupNormShape &s, const Slab &slab, F f) {
  for (int64_t i = thread_of_block(); i < slab.channels(s); i += block_size()) f(slab.channel(s) + i);
}

template <class F>
__device__ __forceinline__ void for_groups(const Slab &slab, F f) {
  for (int64_t i = thread_of_block(); i < slab.groups; i += block_size()) f(slab.first + i);
}

template <class T>
__device__ __forceinline__ void moments_of_slab(const GroupNormShape &s, const Slab &slab, const GroupNormSums &sums,
                                                const GroupNormParts<const T> &x, const GroupNormAffine &affine, double eps,
                                                const GroupNormMoments<float> &moments) {
  for_channels(s, slab, [&](int64_t c) {
    double k = static_cast<float>(*column(s, x, c).at(slab.n * s.pixels));
    channel_moments(s, c, k, affine.added(slab.n, c), sums);
  });
  __syncthreads();
  for_groups(slab, [&](int64_t g) { group_moments(s, slab.n, g, sums, eps, moments); });
  __syncthreads();
  for_channels(s, slab, [&](int64_t c) { channel_line(s, slab.n, c, sums, affine, moments); });
}

// `of` has an element per group of the slab.
__device__ __forceinline__ void gradients_of_slab(const GroupNormShape &s, const Slab &slab, const GroupNormSums &sums, GroupNormSlope *of,
                                                  const GroupNormAffine &affine, const GroupNormMoments<const float> &moments,
                                                  const GroupNormGradients &out, float *slopes) {
  for_channels(s, slab, [&](int64_t c) { channel_gradients(s, slab.n, c, sums, affine, moments, out); });
  __syncthreads();
  for_groups(slab, [&](int64_t g) { of[g - slab.first] = group_slope(s, slab.n, g, sums, affine, moments); });
  __syncthreads();
  for_channels(s, slab, [&](int64_t c) {
    channel_slope(s, slab.n, c, sums, of[s.group(c) - slab.first], affine, moments, slopes, out.input_bias);
  });
}

// ---- kernels over chunks of pixels: blockIdx.x is the task, a sample's chunk;
// threadIdx.x, with blockIdx.y, the channels; threadIdx.y the pixels

struct Place {
  int64_t task, n, c, first, count;  // first: of the chunk's pixels, of all samples'
};

template <int V>
__device__ __forceinline__ Place place_of(const GroupNormShape &s, int64_t task) {
  int64_t n = task / s.chunks(), chunk = task % s.chunks();
  return {task, n, (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V, n * s.pixels + s.first(chunk), s.count(chunk)};
}

// Writes sums[task] = two sums per channel.
template <int V, class F>
__global__ void __launch_bounds__(kThreads, kBlocks) sum_chunks(GroupNormShape s, F f, float *sums) {
  __shared__ float rows[kThreads * 2 * V];
  Place at = place_of<V>(s, blockIdx.x);
  float sum[2 * V] = {};
  if (at.c < s.c) {
    f.begin(s, at.n, at.c);
    sum_pixels(f, at.first, at.count, sum, sum + V);
  }
  join_rows<V>(sum, rows, [&](unsigned i, double total) {
    if (at.c < s.c) sums[(at.task * 2 + i / V) * s.c + at.c + i % V] = static_cast<float>(total);
  });
}

// From the last chunk to the first: the chunks that were summed last are still in the cache.
template <int V, int Blocks, class F>
__global__ void __launch_bounds__(kThreads, Blocks) apply_chunks(GroupNormShape s, F f) {
  Place at = place_of<V>(s, gridDim.x - 1 - blockIdx.x);
  if (at.c >= s.c) return;
  f.begin(s, at.n, at.c);
  for_pixels(f, at.first, at.count);
}

// ---- kernels between those: a block per sample and slab of at most `most` groups

constexpr int64_t kMaxFinishGroups = 64;

__device__ __forceinline__ Slab finish_slab(const GroupNormShape &s, int64_t most) {
  int64_t first = blockIdx.y * most;
  return {static_cast<int64_t>(blockIdx.x), first, s.groups - first < most ? s.groups - first : most};
}

// Adds the chunks' sums for a slab's channels.
__device__ __forceinline__ void gather(const GroupNormShape &s, const Slab &slab, const float *parts, const GroupNormSums &sums) {
  for_channels(s, slab, [&](int64_t c) {
    double s0 = 0, s1 = 0;
    const float *part = parts + 2 * slab.n * s.chunks() * s.c + c;
IDDPM_UNROLL(8)
    for (int64_t t = 0; t < s.chunks(); ++t, part += 2 * s.c) {
      s0 += part[0];
      s1 += part[s.c];
    }
    sums.first(c) = s0;
    sums.second(c) = s1;
  });
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    finish_moments(GroupNormShape s, int64_t most, GroupNormParts<const T> x, const float *parts, GroupNormAffine affine, double eps,
                   GroupNormMoments<float> moments) {
  __shared__ double data[2 * kMaxNormChannels];
  Slab slab = finish_slab(s, most);
  GroupNormSums sums{data, slab.channel(s), slab.channels(s)};
  gather(s, slab, parts, sums);
  moments_of_slab(s, slab, sums, x, affine, eps, moments);
}

__global__ void __launch_bounds__(kThreads)
    finish_gradients(GroupNormShape s, int64_t most, const float *parts, GroupNormAffine affine, GroupNormMoments<const float> moments,
                     GroupNormGradients out, float *slopes) {
  __shared__ double data[2 * kMaxNormChannels], of[2 * kMaxFinishGroups];
  Slab slab = finish_slab(s, most);
  GroupNormSums sums{data, slab.channel(s), slab.channels(s)};
  gather(s, slab, parts, sums);
  gradients_of_slab(s, slab, sums, reinterpret_cast<GroupNormSlope *>(of), affine, moments, out, slopes);
}

// ---- kernels for few pixels: a block processes all pixels of a sample for a slab of whole
// groups. What it reads twice fits into the L1 cache.

// The maximum number of channels of a slab.
template <int V>
constexpr int kMaxSlab = kThreads / 4 * V;

// Sums f over a sample's pixels.
template <int V, class F>
__device__ __forceinline__ void sum_slab(const GroupNormShape &s, const F &f, int64_t n, int64_t c, float *rows, const GroupNormSums &sums) {
  float part[2 * V] = {};
  sum_pixels(f, n * s.pixels, s.pixels, part, part + V);
  join_rows<V>(part, rows, [&](unsigned i, double total) { (i < V ? sums.first(c + i) : sums.second(c + i - V)) = total; });
  __syncthreads();
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    forward_slabs(GroupNormShape s, int64_t groups, Moments<T, V> of, GroupNormAffine affine, double eps, GroupNormMoments<float> moments,
                  Apply<T, V> apply) {
  __shared__ float rows[kThreads * 2 * V];
  __shared__ double data[2 * kMaxSlab<V>];
  Slab slab{static_cast<int64_t>(blockIdx.x), static_cast<int64_t>(blockIdx.y) * groups, groups};
  int64_t c = slab.channel(s) + threadIdx.x * V;
  GroupNormSums sums{data, slab.channel(s), slab.channels(s)};
  of.begin(s, slab.n, c);
  sum_slab<V>(s, of, slab.n, c, rows, sums);
  moments_of_slab(s, slab, sums, of.x, affine, eps, moments);
  __syncthreads();
  apply.begin(s, slab.n, c);
  for_pixels(apply, slab.n * s.pixels, s.pixels);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    backward_slabs(GroupNormShape s, int64_t groups, GradientSums<T, V> of, GroupNormAffine affine, GroupNormMoments<const float> moments,
                   GroupNormGradients out, float *slopes, InputGradient<T, V> input) {
  __shared__ float rows[kThreads * 2 * V];
  __shared__ double data[2 * kMaxSlab<V>], slope[2 * kMaxSlab<V>];
  Slab slab{static_cast<int64_t>(blockIdx.x), static_cast<int64_t>(blockIdx.y) * groups, groups};
  int64_t c = slab.channel(s) + threadIdx.x * V;
  GroupNormSums sums{data, slab.channel(s), slab.channels(s)};
  of.begin(s, slab.n, c);
  sum_slab<V>(s, of, slab.n, c, rows, sums);
  gradients_of_slab(s, slab, sums, reinterpret_cast<GroupNormSlope *>(slope), affine, moments, out, slopes);
  __syncthreads();
  input.begin(s, slab.n, c);
  for_pixels(input, slab.n * s.pixels, s.pixels);
}

// ---- launches

// The grid of the kernels for few pixels.
template <int V>
struct SlabGrid {
  static constexpr int64_t kMaxPixels = 256, kMinChannels = 32;

  explicit SlabGrid(const GroupNormShape &s) : groups(1) {
    while (groups < s.groups && (s.groups % groups != 0 || groups * s.width() % V != 0 || groups * s.width() < kMinChannels)) ++groups;
    int64_t lanes = groups * s.width() / V;
    fits = s.pixels <= kMaxPixels && groups * s.width() % V == 0 && lanes <= kThreads / 4;
    block = dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(fits ? kThreads / lanes : 1));
    grid = dim3(static_cast<unsigned>(s.n), static_cast<unsigned>(s.groups / groups));
  }
  int64_t groups;  // per slab: the fewest that are divisible into packs and use memory transactions well
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

// The grid of the kernels between those: enough channels for a block's threads.
struct FinishGrid {
  explicit FinishGrid(const GroupNormShape &s) {
    groups = s.width() < kMaxFinishGroups ? kMaxFinishGroups / s.width() : 1;
    grid = dim3(static_cast<unsigned>(s.n), static_cast<unsigned>((s.groups + groups - 1) / groups));
  }
  int64_t groups;
  dim3 grid, block{kThreads};
};

// Whether each part's channels are divisible into packs of V, given that the sum of both
// is.
template <class T, int V>
bool splits(const GroupNormParts<T> &x) {
  return packs<T, V>(x.split, x.first, x.rest, nullptr);
}

template <class T, int V>
Line<T, V> line_of(const GroupNormMoments<const float> &moments, const GroupNormActivation &end) {
  return {moments.line, End<T>(end), {}, {}, 0, 0, 0};
}

template <class T, int V>
cudaError_t forward(const GroupNormShape &s, const GroupNormInput<T> &x, const GroupNormAffine &affine, double eps,
                    const GroupNormActivation &end, float *sums, const GroupNormMoments<float> &moments, T *y, cudaStream_t stream) {
  GroupNormMoments<const float> read{moments.mean, moments.rstd, moments.channel_mean, moments.line};
  Moments<T, V> of{x.parts, {}, {}};
  Apply<T, V> apply{x.parts, x.concat, y, line_of<T, V>(read, end), {}, {}, {}};
  if (SlabGrid<V> slabs(s); slabs.fits) {
    return launch(forward_slabs<T, V>, slabs.grid, slabs.block, stream, s, slabs.groups, of, affine, eps, moments, apply);
  }
  Grid<V> chunks(s);
  FinishGrid finish(s);
  cudaError_t e = launch(sum_chunks<V, Moments<T, V>>, chunks.grid, chunks.block, stream, s, of, sums);
  if (e == cudaSuccess) e = launch(finish_moments<T>, finish.grid, finish.block, stream, s, finish.groups, x.parts, sums, affine, eps, moments);
  if (e != cudaSuccess) return e;
  return launch(apply_chunks<V, kBlocks, Apply<T, V>>, chunks.grid, chunks.block, stream, s, apply);
}

template <class T, int V>
cudaError_t backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                     const GroupNormMoments<const float> &moments, const GroupNormActivation &end, float *sums, float *slopes,
                     const GroupNormGradients &out, cudaStream_t stream) {
  Line<T, V> line = line_of<T, V>(moments, end);
  GradientSums<T, V> of{flow.x, flow.dy, line, {}, {}};
  InputGradient<T, V> input{flow, slopes, line, {}, {}, {}, {}, {}, {}};
  if (SlabGrid<V> slabs(s); slabs.fits) {
    return launch(backward_slabs<T, V>, slabs.grid, slabs.block, stream, s, slabs.groups, of, affine, moments, out, slopes, input);
  }
  Grid<V> chunks(s);
  FinishGrid finish(s);
  cudaError_t e = launch(sum_chunks<V, GradientSums<T, V>>, chunks.grid, chunks.block, stream, s, of, sums);
  if (e == cudaSuccess) e = launch(finish_gradients, finish.grid, finish.block, stream, s, finish.groups, sums, affine, moments, out, slopes);
  if (e != cudaSuccess) return e;
  return launch(apply_chunks<V, kGradientBlocks<T>, InputGradient<T, V>>, chunks.grid, chunks.block, stream, s, input);
}

}  // namespace

template <class T>
cudaError_t launch_group_norm_forward(const GroupNormShape &s, const GroupNormInput<T> &x, const GroupNormAffine &affine, double eps,
                                      const GroupNormActivation &end, float *sums, const GroupNormMoments<float> &moments, T *y,
                                      cudaStream_t stream) {
  constexpr int V = kPack<T>;
  return packs<T, V>(s.c, x.concat, y, nullptr) && splits<const T, V>(x.parts) ? forward<T, V>(s, x, affine, eps, end, sums, moments, y, stream)
                                                                        : forward<T, 1>(s, x, affine, eps, end, sums, moments, y, stream);
}

template <class T>
cudaError_t launch_group_norm_backward(const GroupNormShape &s, const GroupNormFlow<T> &flow, const GroupNormAffine &affine,
                                       const GroupNormMoments<const float> &moments, const GroupNormActivation &end, float *sums,
                                       float *slopes, const GroupNormGradients &out, cudaStream_t stream) {
  constexpr int V = kPack<T>;
  return packs<T, V>(s.c, flow.x, flow.dy, flow.more) && splits<T, V>(flow.dx)
             ? backward<T, V>(s, flow, affine, moments, end, sums, slopes, out, stream)
             : backward<T, 1>(s, flow, affine, moments, end, sums, slopes, out, stream);
}

#define IDDPM_INSTANCES(T)                                                                                                           \
  template cudaError_t launch_group_norm_forward(const GroupNormShape &, const GroupNormInput<T> &, const GroupNormAffine &, double, \
                                                 const GroupNormActivation &, float *, const GroupNormMoments<float> &, T *, cudaStream_t); \
  template cudaError_t launch_group_norm_backward(const GroupNormShape &, const GroupNormFlow<T> &, const GroupNormAffine &,         \
                                                  const GroupNormMoments<const float> &, const GroupNormActivation &, float *, float *,     \
                                                  const GroupNormGradients &, cudaStream_t);
IDDPM_INSTANCES(float)
IDDPM_INSTANCES(c10::BFloat16)
IDDPM_INSTANCES(c10::Half)
#undef IDDPM_INSTANCES

}  // namespace iddpm
