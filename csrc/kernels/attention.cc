// Attention over few tokens on the CPU.
#include "attention.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "simd.h"

namespace iddpm {
namespace {

// Above these numbers of tokens, libtorch's flash attention is as fast and stores no
// weights.
constexpr int64_t kMaxTokens = 256, kMaxTokensFloat = 64;

// ---- rows of weights

// Replaces the scores s of one token by their softmax.
template <class T>
IDDPM_INLINE void softmax_row(T *s, float scale, int64_t n) {
  float e[kMaxTokens];
  float most = -INFINITY, sum = 0;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < n; ++i) {
    e[i] = load(s + i) * scale;
    most = e[i] > most ? e[i] : most;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    e[i] = exp_approx(e[i] - most);
    sum += e[i];
  }
  float share = 1.0f / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(s + i, e[i] * share);
}

// Replaces the gradient g of one token's weights w by that of its scores.
template <class T>
IDDPM_INLINE void gradient_row(const T *w, T *g, float scale, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += load(w + i) * load(g + i);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(g + i, load(w + i) * (load(g + i) - sum) * scale);
}

// The instances, each compiled for several instruction sets.
#define IDDPM_INSTANCES(T)                                                                   \
  IDDPM_CLONES void run_softmax(T *s, float scale, int64_t rows, int64_t n) {                \
    for (int64_t r = 0; r < rows; ++r) softmax_row(s + r * n, scale, n);                     \
  }                                                                                          \
  IDDPM_CLONES void run_gradient(const T *w, T *g, float scale, int64_t rows, int64_t n) {   \
    for (int64_t r = 0; r < rows; ++r) gradient_row(w + r * n, g + r * n, scale, n);         \
  }
IDDPM_INSTANCES(float)
IDDPM_INSTANCES(at::BFloat16)
#undef IDDPM_INSTANCES

// Calls f(first row, number of rows) for all rows of weights [B, T, T].
template <class F>
void for_rows(const at::Tensor &weights, F f) {
  int64_t n = weights.size(2), rows = weights.size(0) * weights.size(1);
  at::parallel_for(0, rows, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) { f(begin, end - begin); });
}

template <class T>
void softmax_(at::Tensor &scores, float scale) {
  T *s = scores.data_ptr<T>();
  int64_t n = scores.size(2);
  for_rows(scores, [=](int64_t first, int64_t rows) { run_softmax(s + first * n, scale, rows, n); });
}

template <class T>
void softmax_backward_(const at::Tensor &weights, at::Tensor &gradient, float scale) {
  const T *w = weights.const_data_ptr<T>();
  T *g = gradient.data_ptr<T>();
  int64_t n = weights.size(2);
  for_rows(weights, [=](int64_t first, int64_t rows) { run_gradient(w + first * n, g + first * n, scale, rows, n); });
}

// ---- the autograd node

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

bool is_float(const at::Tensor &t) { return t.scalar_type() == at::kFloat; }

struct Shape {
  int64_t n, t, heads, d;
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(d)); }
};

Shape shape_of(const at::Tensor &qkv, int64_t heads) {
  return {qkv.size(0), qkv.size(1), heads, qkv.size(2) / (3 * heads)};
}

// [N, T, 3 C] to q, k and v stacked, [3, N heads, T, d].
at::Tensor split(const at::Tensor &qkv, const Shape &s) {
  return qkv.view({s.n, s.t, s.heads, 3, s.d}).permute({3, 0, 2, 1, 4}).contiguous().view({3, s.n * s.heads, s.t, s.d});
}

// [N, T, C] to [N heads, T, d], and the inverse.
at::Tensor by_head(const at::Tensor &y, const Shape &s) {
  return y.view({s.n, s.t, s.heads, s.d}).transpose(1, 2).contiguous().view({s.n * s.heads, s.t, s.d});
}

at::Tensor by_token(const at::Tensor &y, const Shape &s) {
  return y.view({s.n, s.heads, s.t, s.d}).transpose(1, 2).contiguous().view({s.n, s.t, s.heads * s.d});
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static Variable forward(AutogradContext *ctx, const Variable &qkv, int64_t heads) {
    Shape s = shape_of(qkv, heads);
    at::Tensor parts = split(qkv, s);
    at::Tensor weights = at::bmm(parts[0], parts[1].transpose(1, 2));
    is_float(weights) ? softmax_<float>(weights, s.scale()) : softmax_<at::BFloat16>(weights, s.scale());
    at::Tensor y = by_token(at::bmm(weights, parts[2]), s);
    ctx->save_for_backward({parts, weights});
    ctx->saved_data["heads"] = heads;
    return y;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    const at::Tensor &parts = saved[0], &weights = saved[1];
    int64_t heads = ctx->saved_data["heads"].toInt();
    Shape s{parts.size(1) / heads, parts.size(2), heads, parts.size(3)};
    at::Tensor dy = by_head(grads[0].contiguous(), s), out = at::empty_like(parts);
    at::Tensor dq = out[0], dk = out[1], dv = out[2];
    at::bmm_out(dv, weights.transpose(1, 2), dy);
    at::Tensor dscores = at::bmm(dy, parts[2].transpose(1, 2));
    is_float(weights) ? softmax_backward_<float>(weights, dscores, s.scale())
                      : softmax_backward_<at::BFloat16>(weights, dscores, s.scale());
    at::bmm_out(dq, dscores, parts[1]);
    at::bmm_out(dk, dscores.transpose(1, 2), parts[0]);
    at::Tensor dqkv = out.view({3, s.n, s.heads, s.t, s.d}).permute({1, 3, 2, 0, 4}).contiguous();
    return {dqkv.view({s.n, s.t, 3 * s.heads * s.d}), Variable()};
  }
};

bool has_kernel(const at::Tensor &qkv) {
  if (!qkv.is_cpu() || qkv.numel() == 0 || !qkv.is_contiguous()) return false;
  return is_float(qkv) ? qkv.size(1) <= kMaxTokensFloat
                       : qkv.scalar_type() == at::kBFloat16 && qkv.size(1) <= kMaxTokens;
}

at::Tensor composed(const at::Tensor &qkv, const Shape &s) {
  // Unbind before any transposition: the backward pass then stacks three gradients into
  // qkv's by one copy.
  auto parts = qkv.reshape({s.n, s.t, s.heads, 3, s.d}).unbind(3);
  for (at::Tensor &part : parts) part = part.transpose(1, 2);
  at::Tensor y = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  return y.transpose(1, 2).reshape({s.n, s.t, s.heads * s.d});
}

}  // namespace

at::Tensor attention(const at::Tensor &qkv, int64_t heads) {
  TORCH_CHECK(qkv.dim() == 3, "attention needs queries, keys and values [N, T, 3 C], not ", qkv.sizes());
  TORCH_CHECK(heads > 0 && qkv.size(2) % (3 * heads) == 0, qkv.size(2), " channels are not divisible by 3 x ", heads, " heads");
  return has_kernel(qkv) ? Attention::apply(qkv, heads) : composed(qkv, shape_of(qkv, heads));
}

}  // namespace iddpm
