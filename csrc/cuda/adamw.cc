// AdamW on a GPU: fills the kernel's tables from tensors.
#include <cstring>

#include "adamw_kernels.h"
#include "kernels.h"

namespace iddpm::cuda {
namespace {

template <class T>
const T *number(const at::Tensor &t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

AdamWTable empty_table(const AdamWCall &call) {
  AdamWTable table{};
  table.emas = static_cast<int64_t>(call.emas.size());
  for (size_t r = 0; r < call.emas.size(); ++r) table.weights[r] = static_cast<float>(1 - call.emas[r].rate);
  return table;
}

void add(const AdamWCall &call, size_t k, AdamWTable *table) {
  int64_t count = call.params[k].numel(), chunks = (count + kAdamWChunk - 1) / kAdamWChunk;
  table->chunks += chunks;
  AdamWRow row{static_cast<uint32_t>(table->chunks),
               static_cast<uint16_t>(count - (chunks - 1) * kAdamWChunk),
               call.grads[k].scalar_type() == at::kBFloat16,
               call.params[k].data_ptr<float>(),
               call.grads[k].const_data_ptr(),
               call.exp_avg[k].data_ptr<float>(),
               call.exp_avg_sq[k].data_ptr<float>(),
               call.working[k].defined() ? call.working[k].data_ptr<c10::BFloat16>() : nullptr};
  unsigned char *at = table->rows + table->n++ * table->row_size();
  std::memcpy(at, &row, sizeof row);
  for (size_t r = 0; r < call.emas.size(); ++r) {
    float *a = call.emas[r].tensors[k].data_ptr<float>();
    std::memcpy(at + sizeof row + r * sizeof a, &a, sizeof a);
  }
}

}  // namespace

bool adamw_supports(const AdamWCall &call) { return call.emas.size() <= kMaxEmas; }

void adamw(const AdamWCall &call) {
  Target target(call.params[0]);
  AdamWInputs in{call.options, number<double>(call.lr), number<float>(call.step), number<float>(call.skip), number<float>(call.grad_scale)};
  for (size_t k = 0; k < call.params.size();) {
    AdamWTable table = empty_table(call);
    while (k < call.params.size() && table.n < table.max_rows()) add(call, k++, &table);
    C10_CUDA_CHECK(launch_adamw(table, in, target.stream));
  }
}

}  // namespace iddpm::cuda
