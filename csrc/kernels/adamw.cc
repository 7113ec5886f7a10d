// AdamW on the CPU. It is bound by memory bandwidth, so every value is read and
// written once.
#include "adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "cast.h"
#include "cuda_kernels.h"
#include "simd.h"

namespace iddpm {
namespace {

// Values per task: few enough that the EMA update finds the new weights in the L1
// cache. Sums do not depend on the number of threads.
constexpr int64_t kChunk = 2048;

// A range of one tensor of a list.
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

IDDPM_CLONES void run_update(float *p, const float *g, float *m, float *v, AdamWUpdate u, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) u.apply(g[i], p + i, m + i, v + i);
}

IDDPM_CLONES void run_scale(float *to, const float *g, float grad_scale, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = grad_scale * g[i];
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

bool plain(const at::Tensor &t, at::DeviceType device, at::ScalarType dtype) {
  return t.device().type() == device && t.scalar_type() == dtype && t.is_non_overlapping_and_dense();
}

// Whether all are in float32 or bfloat16.
bool plain(const Tensors &list, at::DeviceType device) {
  return std::all_of(list.begin(), list.end(),
                     [&](const at::Tensor &t) { return plain(t, device, at::kFloat) || plain(t, device, at::kBFloat16); });
}

// Whether the fused kernels support the parameters.
bool plain(const AdamWCall &call, at::DeviceType device) {
  return std::all_of(call.params.begin(), call.params.end(), [&](const at::Tensor &t) { return plain(t, device, at::kFloat); }) &&
         std::all_of(call.working.begin(), call.working.end(),
                     [&](const at::Tensor &t) { return !t.defined() || plain(t, device, at::kBFloat16); });
}

// A chunk of a tensor in float32: the chunk itself, or cast into `room` of kChunk values.
const float *in_float(const at::Tensor &t, const Chunk &c, float *room) {
  if (t.scalar_type() == at::kFloat) return t.const_data_ptr<float>() + c.first;
  cast_values(t.const_data_ptr<at::BFloat16>() + c.first, room, c.count);
  return room;
}

void fused(const AdamWCall &call) {
  std::vector<float *> p = pointers(call.params), m = pointers(call.exp_avg), v = pointers(call.exp_avg_sq);
  std::vector<std::vector<float *>> ema;
  for (const Ema &a : call.emas) ema.push_back(pointers(a.tensors));
  if (call.skip.defined() && call.skip.item<float>() == 1) return;
  AdamW options = call.options;
  if (call.lr.defined()) options.lr = call.lr.item<double>();
  AdamWUpdate u(options, call.step.item<double>() + 1);
  float grad_scale = call.grad_scale.defined() ? call.grad_scale.item<float>() : 1;
  for_chunks(chunks_of(call.params), [&](size_t, const Chunk &c) {
    size_t k = c.tensor;
    float room[kChunk];
    const float *g = in_float(call.grads[k], c, room);
    if (grad_scale != 1) {
      run_scale(room, g, grad_scale, c.count);
      g = room;
    }
    run_update(p[k] + c.first, g, m[k] + c.first, v[k] + c.first, u, c.count);
    if (const at::Tensor &w = call.working[k]; w.defined()) {
      cast_values(p[k] + c.first, w.data_ptr<at::BFloat16>() + c.first, c.count);
    }
    for (size_t r = 0; r < ema.size(); ++r) {
      run_lerp(ema[r][k] + c.first, p[k] + c.first, static_cast<float>(1 - call.emas[r].rate), c.count);
    }
  });
}

void composed(const AdamWCall &call) {
  const AdamW &o = call.options;
  Tensors steps(call.params.size(), call.step + 1);
  std::optional<at::Tensor> skip;
  if (call.skip.defined()) skip = call.skip;
  Tensors grads;
  for (size_t k = 0; k < call.grads.size(); ++k) {
    at::Tensor g = call.grads[k].to(call.params[k].scalar_type());
    grads.push_back(call.grad_scale.defined() ? g * call.grad_scale : g);
  }
  auto update = [&](auto lr) {
    at::_fused_adamw_(call.params, grads, call.exp_avg, call.exp_avg_sq, /*max_exp_avg_sqs=*/{}, steps, lr, o.beta1, o.beta2,
                      o.weight_decay, o.eps, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, skip);
  };
  call.lr.defined() ? update(call.lr.to(at::kFloat)) : update(o.lr);
  for (size_t k = 0; k < call.working.size(); ++k) {
    if (call.working[k].defined()) call.working[k].copy_(call.params[k]);
  }
  for (const Ema &a : call.emas) {
    Tensors moved = at::_foreach_lerp(a.tensors, call.params, 1 - a.rate);
    for (size_t k = 0; skip && k < moved.size(); ++k) moved[k] = at::where(*skip == 1, a.tensors[k], moved[k]);
    at::_foreach_copy_(a.tensors, moved);
  }
}

// The tensors grouped by dtype: libtorch's fast kernels need lists of one dtype.
std::vector<Tensors> by_dtype(const Tensors &tensors) {
  std::vector<Tensors> lists;
  for (const at::Tensor &t : tensors) {
    auto same = std::find_if(lists.begin(), lists.end(), [&](const Tensors &list) { return list[0].scalar_type() == t.scalar_type(); });
    if (same == lists.end()) same = lists.insert(same, Tensors());
    same->push_back(t);
  }
  return lists;
}

}  // namespace

void adamw_(const AdamWCall &call) {
  if (plain(call, at::kCPU)) return fused(call);
  if (plain(call, at::kCUDA) && call.step.is_cuda() && call.step.scalar_type() == at::kFloat && cuda_kernels().adamw_supports(call)) {
    return cuda_kernels().adamw(call);
  }
  composed(call);
}

at::Tensor total_norm(const Tensors &tensors) {
  if (!plain(tensors, at::kCPU)) {
    bool wide = std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor &t) { return t.scalar_type() == at::kDouble; });
    Tensors norms;
    for (const Tensors &list : by_dtype(tensors)) {
      for (const at::Tensor &norm : at::_foreach_norm(list, 2, wide ? at::kDouble : at::kFloat)) norms.push_back(norm);
    }
    return at::stack(norms).norm();
  }
  std::vector<Chunk> chunks = chunks_of(tensors);
  std::vector<float> squares(chunks.size());
  for_chunks(chunks, [&](size_t i, const Chunk &c) {
    float room[kChunk];
    squares[i] = run_squares(in_float(tensors[c.tensor], c, room), c.count);
  });
  double sum = 0;
  for (float s : squares) sum += s;
  return at::scalar_tensor(std::sqrt(sum), at::kFloat);
}

}  // namespace iddpm
