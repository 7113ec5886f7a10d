// AdamW of tensors on a GPU.
#include <cstring>

#include "adamw_kernels.h"
#include "kernels.h"

namespace iddpm::cuda {
namespace {

// Rows of a table in host memory, from which a copy does not wait for the GPU.
at::Tensor rows_of(const AdamWCall &call, AdamWTable *table) {
  const Tensors &params = call.params;
  int64_t n = static_cast<int64_t>(params.size()), averages = static_cast<int64_t>(call.averages.size());
  *table = {nullptr, static_cast<int64_t>(sizeof(AdamWRow) + averages * sizeof(float *)), n, 0, averages, {}};
  for (int64_t r = 0; r < averages; ++r) table->weights[r] = static_cast<float>(1 - call.averages[r].rate);
  at::Tensor rows = at::empty({n * table->row_size}, at::TensorOptions(at::kByte).pinned_memory(params[0].is_cuda()));
  char *at = static_cast<char *>(rows.data_ptr());
  for (size_t k = 0; k < params.size(); ++k, at += table->row_size) {
    int64_t count = params[k].numel();
    table->chunks += (count + kAdamWChunk - 1) / kAdamWChunk;
    AdamWRow row{table->chunks,
                 count,
                 params[k].data_ptr<float>(),
                 call.grads[k].const_data_ptr<float>(),
                 call.exp_avg[k].data_ptr<float>(),
                 call.exp_avg_sq[k].data_ptr<float>()};
    std::memcpy(at, &row, sizeof row);
    for (int64_t r = 0; r < averages; ++r) {
      float *a = call.averages[r].tensors[k].data_ptr<float>();
      std::memcpy(at + sizeof row + r * sizeof a, &a, sizeof a);
    }
  }
  return rows;
}

}  // namespace

bool adamw_takes(const AdamWCall &call) { return call.averages.size() <= kMostAverages; }

void adamw(const AdamWCall &call) {
  Target target(call.params[0]);
  AdamWTable table;
  at::Tensor rows = rows_of(call, &table).to(call.params[0].device(), /*non_blocking=*/true);
  table.rows = static_cast<const char *>(rows.const_data_ptr());
  const float *skip = call.skip.defined() ? call.skip.const_data_ptr<float>() : nullptr;
  C10_CUDA_CHECK(launch_adamw(table, call.options, call.step.const_data_ptr<float>(), skip, target.stream));
}

}  // namespace iddpm::cuda
