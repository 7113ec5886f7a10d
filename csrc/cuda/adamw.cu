// AdamW and the averages over all parameters on a GPU, in one launch: a block
// takes a chunk of one parameter, reads and writes each value once.
#include <cuda_runtime.h>

#include "adamw_kernels.h"
#include "launch.h"

namespace iddpm {
namespace {

constexpr int kThreads = 256;

// The parameter that this chunk is of: the first whose end lies beyond it.
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

__global__ void __launch_bounds__(kThreads) update(AdamWTable table, AdamW o, const float *step, const float *skip) {
  __shared__ float shared[sizeof(AdamWUpdate) / sizeof(float)];
  AdamWUpdate *u = reinterpret_cast<AdamWUpdate *>(shared);
  if (threadIdx.x == 0) *u = AdamWUpdate(o, static_cast<double>(*step) + 1);
  __syncthreads();
  bool stay = skip != nullptr && *skip == 1.0f;
  int64_t chunk = blockIdx.x, k = find(table, chunk);
  const AdamWRow &row = table.row(k);
  int64_t first = (chunk - (k == 0 ? 0 : table.row(k - 1).end)) * kAdamWChunk;
  int64_t end = first + kAdamWChunk < row.count ? first + kAdamWChunk : row.count;
  for (int64_t i = first + threadIdx.x; i < end; i += blockDim.x) {
    float p = row.p[i];
    if (!stay) {
      float m = row.m[i], v = row.v[i];
      u->apply(row.g[i], &p, &m, &v);
      row.p[i] = p;
      row.m[i] = m;
      row.v[i] = v;
    }
    for (int64_t r = 0; r < table.averages; ++r) {
      float *a = table.moving(k)[r] + i;
      *a += table.weights[r] * (p - *a);
    }
  }
}

}  // namespace

cudaError_t launch_adamw(const AdamWTable &table, const AdamW &o, const float *step, const float *skip, cudaStream_t stream) {
  if (table.chunks == 0) return cudaSuccess;
  return launch(update, dim3(static_cast<unsigned>(table.chunks)), dim3(kThreads), stream, table, o, step, skip);
}

}  // namespace iddpm
