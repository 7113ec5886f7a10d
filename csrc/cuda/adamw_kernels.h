// Between adamw.cc, which knows tensors, and adamw.cu, which nvcc compiles without
// libtorch's headers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../kernels/adamw_math.h"

namespace iddpm {

// Values that one block updates.
constexpr int64_t kAdamWChunk = 8192;

constexpr int64_t kMostAverages = 8;

// A parameter in memory. Its averages' addresses follow: a row of a table has
// room for as many as there are.
struct AdamWRow {
  int64_t end;  // chunks of this parameter and all before it
  int64_t count;
  float *p;
  const float *g;
  float *m, *v;
};

// Rows on the GPU, row_size bytes each, one per parameter.
struct AdamWTable {
  const char *rows;
  int64_t row_size, n, chunks, averages;
  float weights[kMostAverages];  // what of the parameter goes into each average

#if defined(__CUDACC__) || defined(IDDPM_EMULATED)
  __device__ const AdamWRow &row(int64_t k) const { return *reinterpret_cast<const AdamWRow *>(rows + k * row_size); }
  __device__ float *const *moving(int64_t k) const { return reinterpret_cast<float *const *>(rows + k * row_size + sizeof(AdamWRow)); }
#endif
};

// step counts the updates before; skip may be NULL.
cudaError_t launch_adamw(const AdamWTable &table, const AdamW &o, const float *step, const float *skip, cudaStream_t stream);

}  // namespace iddpm
