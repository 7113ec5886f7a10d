// Shapes and indexing.
#include "handle.h"

using namespace iddpm;

gt_result gt_view(gt_tensor a, const int64_t *shape, int64_t n) {
  return guard_tensor([&] { return unwrap(a).view(ints(shape, n)); });
}

gt_result gt_reshape(gt_tensor a, const int64_t *shape, int64_t n) {
  return guard_tensor([&] { return at::reshape(unwrap(a), ints(shape, n)); });
}

gt_result gt_permute(gt_tensor a, const int64_t *dims, int64_t n) {
  return guard_tensor([&] { return at::permute(unwrap(a), ints(dims, n)); });
}

gt_result gt_transpose(gt_tensor a, int64_t d0, int64_t d1) {
  return guard_tensor([&] { return at::transpose(unwrap(a), d0, d1); });
}

gt_result gt_unsqueeze(gt_tensor a, int64_t dim) {
  return guard_tensor([&] { return at::unsqueeze(unwrap(a), dim); });
}

gt_result gt_flatten(gt_tensor a, int64_t start, int64_t end) {
  return guard_tensor([&] { return at::flatten(unwrap(a), start, end); });
}

gt_result gt_expand(gt_tensor a, const int64_t *shape, int64_t n) {
  return guard_tensor([&] { return unwrap(a).expand(ints(shape, n)); });
}

gt_result gt_narrow(gt_tensor a, int64_t dim, int64_t start, int64_t length) {
  return guard_tensor([&] { return unwrap(a).narrow(dim, start, length); });
}

gt_result gt_select(gt_tensor a, int64_t dim, int64_t index) {
  return guard_tensor([&] { return unwrap(a).select(dim, index); });
}

gt_result gt_index_select(gt_tensor a, int64_t dim, gt_tensor index) {
  return guard_tensor([&] { return at::index_select(unwrap(a), dim, unwrap(index)); });
}

gt_result gt_cat(const gt_tensor *list, int64_t n, int64_t dim) {
  return guard_tensor([&] { return at::cat(unwrap_list(list, n), dim); });
}

gt_result gt_stack(const gt_tensor *list, int64_t n, int64_t dim) {
  return guard_tensor([&] { return at::stack(unwrap_list(list, n), dim); });
}
