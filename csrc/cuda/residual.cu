// The residual sum on a GPU.
#include "residual_kernels.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "launch.h"
#include "pack.h"

namespace iddpm {
namespace {

constexpr int64_t kThreads = 256, kMaxBlocks = 1 << 16;

template <class T, int V>
__global__ void __launch_bounds__(kThreads) add(const T *x, const T *h, const float *b, T *y, int64_t packs, int64_t c) {
  int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    float sum[V], residual[V];
    load<T, V>(x + i * V, sum);
    load<T, V>(h + i * V, residual);
    const float *bias = b + i * V % c;
    for (int k = 0; k < V; ++k) sum[k] += residual[k] + bias[k];
    store<T, V>(y + i * V, sum);
  }
}

template <class T, int V>
cudaError_t launch_packs(const T *x, const T *h, const float *b, T *y, int64_t n, int64_t c, cudaStream_t stream) {
  int64_t packs = n * c / V, blocks = (packs + kThreads - 1) / kThreads;
  dim3 grid(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  return launch(add<T, V>, grid, dim3(kThreads), stream, x, h, b, y, packs, c);
}

}  // namespace

template <class T>
cudaError_t launch_residual_add(const T *x, const T *h, const float *b, T *y, int64_t n, int64_t c, cudaStream_t stream) {
  return packs<T, kPack<T>>(c, x, h, y) ? launch_packs<T, kPack<T>>(x, h, b, y, n, c, stream)
                                        : launch_packs<T, 1>(x, h, b, y, n, c, stream);
}

#define IDDPM_INSTANCE(T) \
  template cudaError_t launch_residual_add(const T *, const T *, const float *, T *, int64_t, int64_t, cudaStream_t);
IDDPM_INSTANCE(float)
IDDPM_INSTANCE(c10::BFloat16)
IDDPM_INSTANCE(c10::Half)
#undef IDDPM_INSTANCE

}  // namespace iddpm
