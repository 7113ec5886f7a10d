// Reductions, and comparisons of whole tensors.
#include "handle.h"

using namespace iddpm;

namespace {

// No dims means all dims, as in torch.sum.
at::OptionalIntArrayRef dims_of(const int64_t *dims, int64_t n) {
  return n == 0 ? at::OptionalIntArrayRef() : at::OptionalIntArrayRef(ints(dims, n));
}

}  // namespace

gt_result gt_sum(gt_tensor a, const int64_t *dims, int64_t n, int32_t keepdim) {
  return guard_tensor([&] { return at::sum(unwrap(a), dims_of(dims, n), keepdim != 0); });
}

gt_result gt_mean(gt_tensor a, const int64_t *dims, int64_t n, int32_t keepdim) {
  return guard_tensor([&] { return at::mean(unwrap(a), dims_of(dims, n), keepdim != 0); });
}

gt_result gt_max(gt_tensor a) {
  return guard_tensor([&] { return at::max(unwrap(a)); });
}

gt_result gt_cumprod(gt_tensor a, int64_t dim) {
  return guard_tensor([&] { return at::cumprod(unwrap(a), dim); });
}

gt_pair gt_topk(gt_tensor a, int64_t k, int64_t dim, int32_t largest, int32_t sorted) {
  return guard_pair([&] { return at::topk(unwrap(a), k, dim, largest != 0, sorted != 0); });
}

gt_error gt_equal(gt_tensor a, gt_tensor b, int32_t *out) {
  return guard([&] { *out = at::equal(unwrap(a), unwrap(b)); });
}
