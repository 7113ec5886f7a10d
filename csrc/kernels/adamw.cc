// The CPU side of AdamW: what the loops below do is bound by memory, so every
// value is read and written once.
#include "adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "simd.h"

namespace iddpm {
namespace {

// Values per task: small enough for the averages to find the new weights in the
// first-level cache. Sums do not depend on the number of threads.
constexpr int64_t kChunk = 2048;

// A part of one tensor of a list.
struct Chunk {
  size_t tensor;
  int64_t first, count;
};

std::vector<Chunk> chunks_of(const Tensors &list) {
  std::vector<Chunk> chunks;
  for (size_t k = 0; k < list.size(); ++k) {
    for (int64_t i = 0, n = list[k].numel(); i < n; i += kChunk) chunks.push_back({k, i, std::min(kChunk, n - i)});
  }
  return chunks;
}

template <class F>
void for_chunks(const std::vector<Chunk> &chunks, F f) {
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(static_cast<size_t>(i), chunks[static_cast<size_t>(i)]);
  });
}

std::vector<float *> pointers(const Tensors &list) {
  std::vector<float *> p;
  for (const at::Tensor &t : list) p.push_back(t.data_ptr<float>());
  return p;
}

// The numbers of one update, rounded once.
struct Update {
  float keep, first, second, second_rest, rescale, eps, step_size;
};

Update update_of(const AdamW &o, double step) {
  double root = std::sqrt(1 - std::pow(o.beta2, step));
  return {static_cast<float>(1 - o.lr * o.weight_decay),
          static_cast<float>(1 - o.beta1),
          static_cast<float>(o.beta2),
          static_cast<float>(1 - o.beta2),
          static_cast<float>(1 / root),
          static_cast<float>(o.eps),
          static_cast<float>(o.lr / (1 - std::pow(o.beta1, step)))};
}

IDDPM_CLONES void run_update(float *p, const float *g, float *m, float *v, Update u, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    m[i] += u.first * (g[i] - m[i]);
    v[i] = u.second * v[i] + u.second_rest * g[i] * g[i];
    p[i] = u.keep * p[i] - u.step_size * m[i] / (sqrtf(v[i]) * u.rescale + u.eps);
  }
}

IDDPM_CLONES void run_lerp(float *a, const float *p, float weight, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) a[i] += weight * (p[i] - a[i]);
}

IDDPM_CLONES float run_squares(const float *x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

bool plain(const Tensors &list) {
  return std::all_of(list.begin(), list.end(), [](const at::Tensor &t) {
    return t.is_cpu() && t.scalar_type() == at::kFloat && t.is_non_overlapping_and_dense();
  });
}

void fused(const Tensors &params, const Tensors &grads, const Tensors &exp_avg, const Tensors &exp_avg_sq,
           const std::vector<Average> &averages, double step, const AdamW &o, bool skip) {
  std::vector<float *> p = pointers(params), g = pointers(grads), m = pointers(exp_avg), v = pointers(exp_avg_sq);
  std::vector<std::vector<float *>> moving;
  for (const Average &a : averages) moving.push_back(pointers(a.tensors));
  Update u = update_of(o, step);
  for_chunks(chunks_of(params), [&](size_t, const Chunk &c) {
    size_t k = c.tensor;
    if (!skip) run_update(p[k] + c.first, g[k] + c.first, m[k] + c.first, v[k] + c.first, u, c.count);
    for (size_t r = 0; r < moving.size(); ++r) {
      run_lerp(moving[r][k] + c.first, p[k] + c.first, static_cast<float>(1 - averages[r].rate), c.count);
    }
  });
}

void composed(const Tensors &params, const Tensors &grads, const Tensors &exp_avg, const Tensors &exp_avg_sq,
              const std::vector<Average> &averages, const at::Tensor &step, const AdamW &o, const at::Tensor &skip) {
  Tensors steps(params.size(), step + 1);
  at::_fused_adamw_(params, grads, exp_avg, exp_avg_sq, /*max_exp_avg_sqs=*/{}, steps, o.lr, o.beta1, o.beta2,
                    o.weight_decay, o.eps, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{},
                    skip.defined() ? std::optional<at::Tensor>(skip) : std::nullopt);
  for (const Average &a : averages) at::_foreach_lerp_(a.tensors, params, 1 - a.rate);
}

}  // namespace

void adamw_(const Tensors &params, const Tensors &grads, const Tensors &exp_avg, const Tensors &exp_avg_sq,
            const std::vector<Average> &averages, const at::Tensor &step, const AdamW &o, const at::Tensor &skip) {
  if (plain(params)) {
    bool stay = skip.defined() && skip.item<float>() == 1;
    fused(params, grads, exp_avg, exp_avg_sq, averages, step.item<double>() + 1, o, stay);
  } else {
    composed(params, grads, exp_avg, exp_avg_sq, averages, step, o, skip);
  }
}

at::Tensor total_norm(const Tensors &tensors) {
  if (!plain(tensors)) {
    bool wide = std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor &t) { return t.scalar_type() == at::kDouble; });
    return at::stack(at::_foreach_norm(tensors, 2, wide ? at::kDouble : at::kFloat)).norm();
  }
  std::vector<float *> x = pointers(tensors);
  std::vector<Chunk> chunks = chunks_of(tensors);
  std::vector<float> squares(chunks.size());
  for_chunks(chunks, [&](size_t i, const Chunk &c) { squares[i] = run_squares(x[c.tensor] + c.first, c.count); });
  double sum = 0;
  for (float s : squares) sum += s;
  return at::scalar_tensor(std::sqrt(sum), at::kFloat);
}

}  // namespace iddpm
