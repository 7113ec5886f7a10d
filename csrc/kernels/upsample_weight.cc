// The weights are [O, 3, 3, I] in memory, so every loop runs over I.
#include "upsample_weight.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

namespace iddpm {
namespace {

// Which of the three taps of w add up to tap a of the four: first to last.
constexpr int kFirst[4] = {2, 1, 0, 0}, kLast[4] = {2, 2, 1, 0};

// Calls f(to, from) for every pair of taps, a of [4, 4] and k of [3, 3], of
// which one adds to the other.
template <class F>
void for_taps(F f) {
  for (int a = 0; a < 16; ++a) {
    for (int i = kFirst[a / 4]; i <= kLast[a / 4]; ++i) {
      for (int j = kFirst[a % 4]; j <= kLast[a % 4]; ++j) f(a, 3 * i + j);
    }
  }
}

void add(float *to, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

at::Tensor zeros(int64_t o, int64_t i, int64_t side) {
  return at::empty({o, i, side, side}, at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast)).zero_();
}

// [O, I, 3, 3] to [O, I, 4, 4], both channels-last.
at::Tensor widen(const at::Tensor &w) {
  int64_t o = w.size(0), n = w.size(1);
  at::Tensor wide = zeros(o, n, 4);
  const float *from = w.const_data_ptr<float>();
  float *to = wide.data_ptr<float>();
  at::parallel_for(0, o, 8, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for_taps([=](int a, int k) { add(to + (16 * r + a) * n, from + (9 * r + k) * n, n); });
    }
  });
  return wide;
}

// The transpose of widen.
at::Tensor fold(const at::Tensor &wide) {
  int64_t o = wide.size(0), n = wide.size(1);
  at::Tensor w = zeros(o, n, 3);
  const float *from = wide.const_data_ptr<float>();
  float *to = w.data_ptr<float>();
  at::parallel_for(0, o, 8, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for_taps([=](int a, int k) { add(to + (9 * r + k) * n, from + (16 * r + a) * n, n); });
    }
  });
  return w;
}

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class UpsampleWeight : public torch::autograd::Function<UpsampleWeight> {
 public:
  static Variable forward(AutogradContext *, const Variable &w, at::ScalarType dtype) {
    at::Tensor wide = widen(w.contiguous(at::MemoryFormat::ChannelsLast));
    return wide.to(dtype).transpose(0, 1).contiguous(at::MemoryFormat::ChannelsLast);
  }

  static variable_list backward(AutogradContext *, variable_list grads) {
    at::Tensor wide = grads[0].transpose(0, 1).contiguous(at::MemoryFormat::ChannelsLast).to(at::kFloat);
    return {fold(wide), Variable()};
  }
};

}  // namespace

at::Tensor upsample_weight(const at::Tensor &w, at::ScalarType dtype) {
  TORCH_CHECK(w.dim() == 4 && w.size(2) == 3 && w.size(3) == 3, "the weight of a convolution after up-sampling is [O, I, 3, 3], not ", w.sizes());
  TORCH_CHECK(w.is_cpu() && w.scalar_type() == at::kFloat, "the weight is ", w.toString(), ", not float32 on the CPU");
  TORCH_CHECK(at::isFloatingType(dtype), "a weight as ", dtype);
  return UpsampleWeight::apply(w, dtype);
}

}  // namespace iddpm
