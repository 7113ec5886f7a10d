// The interface between adamw.cc, which uses tensors, and adamw.cu, which nvcc compiles
// without libtorch's headers.
#pragma once

#include <c10/util/BFloat16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "../kernels/adamw_math.h"
#include "../kernels/host_device.h"

namespace iddpm {

// Values that one block updates.
constexpr int64_t kAdamWChunk = 8192;
static_assert(kAdamWChunk <= UINT16_MAX, "see AdamWRow");

constexpr int64_t kMaxEmas = 8;

// The addresses of a parameter. In a table the addresses of its EMAs follow.
struct AdamWRow {
  uint32_t end;     // number of chunks of this and all earlier parameters
  uint16_t last;    // values in its last chunk; the others have kAdamWChunk
  uint16_t narrow;  // 1: g is bfloat16; 0: float32
  float *p;
  const void *g;
  float *m, *v;
  c10::BFloat16 *working;  // NULL: no working weight
};

// The inputs of an update. The GPU reads those that change between updates from memory,
// since a captured launch has the same arguments at every replay.
struct AdamWInputs {
  AdamW options;
  const double *lr;   // replaces options.lr; NULL: options.lr
  const float *step;  // number of updates before this one
  const float *skip;  // NULL: 0
  const float *grad_scale;  // NULL: 1
};

// Up to max_rows() parameters. The table is an argument of the kernel, of which CUDA
// allows 32,764 bytes: a captured launch then needs no host memory, and a network of 500
// parameters with one EMA needs one launch.
struct AdamWTable {
  static constexpr int64_t kBytes = 32000;

  int64_t n, chunks, emas;
  float weights[kMaxEmas];  // 1 - rate of each EMA
  alignas(8) unsigned char rows[kBytes];

  IDDPM_HD int64_t row_size() const { return static_cast<int64_t>(sizeof(AdamWRow)) + emas * static_cast<int64_t>(sizeof(float *)); }
  IDDPM_HD int64_t max_rows() const { return kBytes / row_size(); }
  IDDPM_HD const AdamWRow &row(int64_t k) const { return *reinterpret_cast<const AdamWRow *>(rows + k * row_size()); }
  IDDPM_HD float *const *emas_of(int64_t k) const {
    return reinterpret_cast<float *const *>(rows + k * row_size() + sizeof(AdamWRow));
  }
};
static_assert(sizeof(AdamWTable) + sizeof(AdamWInputs) <= 32764, "both are arguments of one kernel");

cudaError_t launch_adamw(const AdamWTable &table, const AdamWInputs &in, cudaStream_t stream);

}  // namespace iddpm
