// The training objective on a GPU: a block per sample sums its losses in a fixed order,
// and a thread per element computes gradients.
#include "diffusion_kernels.h"

#include "launch.h"

namespace iddpm {
namespace {

constexpr int kThreads = 512;
constexpr int64_t kMaxBlocks = 1 << 16;

// Sums the block's values into values[0]; their number is a power of two.
__device__ void sum(double *values) {
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads) losses(ImageShape s, LossInputs in, float *mse, float *bound) {
  __shared__ double squares[kThreads], nats[kThreads];
  int64_t n = blockIdx.x;
  float square = 0, nat = 0;
  for (int64_t i = threadIdx.x; i < s.elements(); i += blockDim.x) {
    LossElement e = in.element(s, n, i);
    square += e.error() * e.error();
    if (in.bound) nat += bound_term(in.rows[n], e);
  }
  squares[threadIdx.x] = square;
  nats[threadIdx.x] = nat;
  sum(squares);
  sum(nats);
  if (threadIdx.x != 0) return;
  double elements = static_cast<double>(s.elements());
  mse[n] = static_cast<float>(squares[0] / elements);
  if (in.bound) bound[n] = static_cast<float>(nats[0] / elements * 1.4426950408889634);
}

__global__ void __launch_bounds__(kThreads) gradients(ImageShape s, LossInputs in, LossGradients g, float *d_out) {
  int64_t elements = s.elements(), stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < s.n * elements; k += stride) {
    g.apply(s, in, k / elements, k % elements, d_out);
  }
}

}  // namespace

cudaError_t launch_diffusion_losses(const ImageShape &s, const LossInputs &in, float *mse, float *bound, cudaStream_t stream) {
  return launch(losses, dim3(static_cast<unsigned>(s.n)), dim3(kThreads), stream, s, in, mse, bound);
}

cudaError_t launch_diffusion_losses_backward(const ImageShape &s, const LossInputs &in, const LossGradients &g, float *d_out,
                                             cudaStream_t stream) {
  int64_t blocks = (s.n * s.elements() + kThreads - 1) / kThreads;
  dim3 grid(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  return launch(gradients, grid, dim3(kThreads), stream, s, in, g, d_out);
}

}  // namespace iddpm
