// AdamW and EMAs on a GPU for the parameters of a table: a block updates one chunk of a
// parameter, and reads and writes each value once.
#include <cuda_runtime.h>

#include "adamw_kernels.h"
#include "launch.h"

namespace iddpm {
namespace {

constexpr int kThreads = 256;

// The parameter that contains a chunk: the first one whose end is greater.
__device__ __forceinline__ int64_t find(const AdamWTable &table, int64_t chunk) {
  int64_t low = 0, high = table.n - 1;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (table.row(middle).end > chunk) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

__device__ AdamWUpdate update_of(const AdamWInputs &in) {
  AdamW options = in.options;
  if (in.lr != nullptr) options.lr = *in.lr;
  return AdamWUpdate(options, static_cast<double>(*in.step) + 1);
}

// A parameter's gradient at i.
__device__ __forceinline__ float gradient(const AdamWRow &row, int64_t i) {
  if (row.narrow) return static_cast<float>(static_cast<const c10::BFloat16 *>(row.g)[i]);
  return static_cast<const float *>(row.g)[i];
}

__global__ void __launch_bounds__(kThreads) update(const __grid_constant__ AdamWTable table, const __grid_constant__ AdamWInputs in) {
  __shared__ float shared[sizeof(AdamWUpdate) / sizeof(float)];
  if (in.skip != nullptr && *in.skip == 1.0f) return;
  AdamWUpdate *u = reinterpret_cast<AdamWUpdate *>(shared);
  if (threadIdx.x == 0) *u = update_of(in);
  __syncthreads();
  int64_t chunk = blockIdx.x, k = find(table, chunk);
  const AdamWRow &row = table.row(k);
  int64_t first = (chunk - (k == 0 ? 0 : table.row(k - 1).end)) * kAdamWChunk;
  int64_t end = first + (chunk + 1 == row.end ? row.last : kAdamWChunk);
  float grad_scale = in.grad_scale != nullptr ? *in.grad_scale : 1.0f;
  for (int64_t i = first + threadIdx.x; i < end; i += blockDim.x) {
    float p = row.p[i], m = row.m[i], v = row.v[i];
    u->apply(grad_scale * gradient(row, i), &p, &m, &v);
    row.p[i] = p;
    if (row.working != nullptr) row.working[i] = static_cast<c10::BFloat16>(p);
    row.m[i] = m;
    row.v[i] = v;
    for (int64_t r = 0; r < table.emas; ++r) {
      float *a = table.emas_of(k)[r] + i;
      *a += table.weights[r] * (p - *a);
    }
  }
}

}  // namespace

cudaError_t launch_adamw(const AdamWTable &table, const AdamWInputs &in, cudaStream_t stream) {
  if (table.chunks == 0) return cudaSuccess;
  return launch(update, dim3(static_cast<unsigned>(table.chunks)), dim3(kThreads), stream, table, in);
}

}  // namespace iddpm
