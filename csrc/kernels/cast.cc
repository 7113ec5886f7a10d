#include "cast.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "simd.h"

namespace iddpm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

template <class To, class From>
IDDPM_INLINE void cast(const From *from, To *to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(to + i, load(from + i));
}

// The instances, each compiled for several instruction sets.
IDDPM_CLONES void run(const float *from, at::BFloat16 *to, int64_t n) { cast(from, to, n); }
IDDPM_CLONES void run(const at::BFloat16 *from, float *to, int64_t n) { cast(from, to, n); }

// Calls f(tensor, first, count) for ranges of all tensors, in parallel, with equal
// numbers of elements per thread.
template <class F>
void for_parts(const variable_list &list, F f) {
  std::vector<int64_t> ends;
  int64_t total = 0;
  for (const Variable &t : list) ends.push_back(total += t.numel());
  at::parallel_for(0, total, 1 << 14, [&](int64_t begin, int64_t end) {
    size_t k = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin());
    for (; begin < end; ++k) {
      int64_t first = k == 0 ? 0 : ends[k - 1], last = std::min(end, ends[k]);
      f(k, begin - first, last - begin);
      begin = last;
    }
  });
}

template <class To, class From>
void cast_all(const variable_list &from, const variable_list &to) {
  for_parts(from, [&](size_t k, int64_t first, int64_t count) {
    run(from[k].const_data_ptr<From>() + first, to[k].data_ptr<To>() + first, count);
  });
}

// Whether the kernel supports these lists: same layouts, from source to target dtype.
bool fits(const variable_list &from, const variable_list &to, at::ScalarType source, at::ScalarType target) {
  for (size_t k = 0; k < from.size(); ++k) {
    if (!from[k].is_cpu() || from[k].scalar_type() != source || to[k].scalar_type() != target ||
        !from[k].is_non_overlapping_and_dense() || from[k].strides() != to[k].strides()) {
      return false;
    }
  }
  return true;
}

variable_list casts(const variable_list &from, at::ScalarType dtype) {
  variable_list to;
  for (const Variable &t : from) to.push_back(at::empty_like(t, t.options().dtype(dtype)));
  if (from.empty()) return to;
  if (fits(from, to, at::kFloat, at::kBFloat16)) {
    cast_all<at::BFloat16, float>(from, to);
  } else if (fits(from, to, at::kBFloat16, at::kFloat)) {
    cast_all<float, at::BFloat16>(from, to);
  } else {
    at::_foreach_copy_(to, from);
  }
  return to;
}

class CastList : public torch::autograd::Function<CastList> {
 public:
  static variable_list forward(AutogradContext *ctx, at::TensorList list, at::ScalarType dtype) {
    ctx->set_materialize_grads(false);
    ctx->saved_data["dtype"] = static_cast<int64_t>(list[0].scalar_type());
    return casts(list.vec(), dtype);
  }

  // An unused result has no gradient.
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    auto dtype = static_cast<at::ScalarType>(ctx->saved_data["dtype"].toInt());
    variable_list used, result;
    std::copy_if(grads.begin(), grads.end(), std::back_inserter(used), [](const Variable &g) { return g.defined(); });
    used = casts(used, dtype);
    auto next = used.begin();
    for (const Variable &g : grads) result.push_back(g.defined() ? *next++ : Variable());
    result.emplace_back();  // for dtype
    return result;
  }
};

}  // namespace

void cast_values(const float *from, at::BFloat16 *to, int64_t n) { run(from, to, n); }
void cast_values(const at::BFloat16 *from, float *to, int64_t n) { run(from, to, n); }

std::vector<at::Tensor> cast_list(const std::vector<at::Tensor> &list, at::ScalarType dtype) {
  if (list.empty()) return {};
  TORCH_CHECK(at::isFloatingType(dtype), "tensors can be cast to floating-point types, not to ", dtype);
  for (const at::Tensor &t : list) {
    TORCH_CHECK(t.scalar_type() == list[0].scalar_type() && t.device() == list[0].device(), "a list of ", list[0].toString(),
                " on ", list[0].device(), " contains a ", t.toString(), " on ", t.device());
  }
  return CastList::apply(at::TensorList(list), dtype);
}

}  // namespace iddpm
