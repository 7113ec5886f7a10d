// Between adamw.cc, which knows tensors, and adamw.cu, which nvcc compiles without
// libtorch's headers.
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

constexpr int64_t kMostAverages = 8;

// A parameter in memory. In a table its averages' addresses follow.
struct AdamWRow {
  uint32_t end;     // chunks of this parameter and all before it
  uint16_t last;    // values of its last chunk; the others have kAdamWChunk
  uint16_t narrow;  // 1: g is in bfloat16, else in float32
  float *p;
  const void *g;
  float *m, *v;
  c10::BFloat16 *copy;  // NULL: there is none
};

// The numbers of an update. Those that change from one to the next are read on
// the GPU, for a recorded launch is given the same arguments every time.
struct AdamWInputs {
  AdamW options;
  const double *lr;   // stands for options.lr; NULL: that
  const float *step;  // counts the updates before
  const float *skip;  // NULL: 0
  const float *gain;  // NULL: 1
};

// Up to most_rows() parameters. It is an argument of the kernel, which CUDA lets
// be 32,764 bytes large: so a recorded launch needs no memory of the host, and a
// network of 500 parameters and one average is one launch.
struct AdamWTable {
  static constexpr int64_t kBytes = 32000;

  int64_t n, chunks, averages;
  float weights[kMostAverages];  // what of the parameter goes into each average
  alignas(8) unsigned char rows[kBytes];

  IDDPM_HD int64_t row_size() const { return static_cast<int64_t>(sizeof(AdamWRow)) + averages * static_cast<int64_t>(sizeof(float *)); }
  IDDPM_HD int64_t most_rows() const { return kBytes / row_size(); }
  IDDPM_HD const AdamWRow &row(int64_t k) const { return *reinterpret_cast<const AdamWRow *>(rows + k * row_size()); }
  IDDPM_HD float *const *averages_of(int64_t k) const {
    return reinterpret_cast<float *const *>(rows + k * row_size() + sizeof(AdamWRow));
  }
};
static_assert(sizeof(AdamWTable) + sizeof(AdamWInputs) <= 32764, "both are arguments of one kernel");

cudaError_t launch_adamw(const AdamWTable &table, const AdamWInputs &in, cudaStream_t stream);

}  // namespace iddpm
