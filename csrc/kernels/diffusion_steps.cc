#include "diffusion_steps.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "cuda_kernels.h"
#include "simd.h"

namespace iddpm {
namespace {

// Calls f(n, first, count) for runs of elements of every sample n, in parallel.
template <class F>
void for_each_run(const ImageShape &s, F f) {
  int64_t runs = (s.elements() + kPhiloxRun - 1) / kPhiloxRun;
  at::parallel_for(0, s.n * runs, 4096 / kPhiloxRun, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t first = i % runs * kPhiloxRun;
      f(i / runs, first, std::min(kPhiloxRun, s.elements() - first));
    }
  });
}

IDDPM_CLONES void q_sample_run(QSampleRow r, int64_t count, const float *x_start, const float *z, float *x_t) {
  for (int64_t i = 0; i < count; ++i) x_t[i] = r.x_t(x_start[i], z[i]);
}

void q_sample(const ImageShape &s, const QSampleInputs &in, float *x_t, float *noise) {
  for_each_run(s, [&](int64_t n, int64_t first, int64_t count) {
    int64_t at = n * s.elements() + first;
    philox_normal_run(in.key, n, first, count, noise + at);
    q_sample_run(in.rows[n], count, in.x_start + at, noise + at, x_t + at);
  });
}

// The prediction, the variance output and the noise of a run; NULL if absent.
struct Run {
  alignas(64) float prediction[kPhiloxRun], deviation[kPhiloxRun];
  const float *noise = nullptr;

  Run(const ImageShape &s, const ReverseInputs &in, int64_t n, int64_t first, int64_t count) {
    OutputCursor at(s, n, first);
    for (int64_t i = 0; i < count; ++i, at.next(s)) {
      prediction[i] = in.out[at.prediction];
      if (s.learned) deviation[i] = in.out[at.prediction + s.c];
    }
    if (in.noise == nullptr) return;
    noise = in.noise + n * s.elements() + first;
    const ReverseRow &r = in.rows[n];
    if (!s.learned) std::fill(deviation, deviation + count, r.deviation(0.0f));
    for (int64_t i = 0; s.learned && i < count; ++i) deviation[i] = r.deviation(deviation[i]);
  }
};

IDDPM_CLONES void reverse_run(ReverseRow r, bool clip, int64_t count, const Run &run, const float *x, float *previous,
                              float *x_start) {
  for (int64_t i = 0; i < count; ++i) {
    float v = r.x_start(x[i], run.prediction[i], clip);
    x_start[i] = v;
    previous[i] = r.mean(v, x[i], run.prediction[i]);
  }
  if (run.noise == nullptr) return;
  for (int64_t i = 0; i < count; ++i) previous[i] += run.deviation[i] * run.noise[i];
}

void reverse_step(const ImageShape &s, const ReverseInputs &in, float *previous, float *x_start) {
  for_each_run(s, [&](int64_t n, int64_t first, int64_t count) {
    int64_t at = n * s.elements() + first;
    Run run(s, in, n, first, count);
    reverse_run(in.rows[n], in.clip, count, run, in.x + at, previous + at, x_start + at);
  });
}

void check_images(const at::Tensor &images, const at::Tensor &rows, int64_t columns,
                    std::initializer_list<at::Tensor> all) {
  TORCH_CHECK(images.dim() == 4, "a step needs images [N, C, H, W], not ", images.sizes());
  check_rows(rows, images, columns);
  for (const at::Tensor &t : all) {
    TORCH_CHECK(t.scalar_type() == at::kFloat && t.device() == images.device(), "a step needs float32 tensors of one device, not ",
                t.toString());
    TORCH_CHECK(!(t.requires_grad() && at::GradMode::is_enabled()), "a step has no gradient: call it in NoGrad");
  }
}

at::Tensor dense(const at::Tensor &t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

// Allocates the two results.
std::pair<at::Tensor, at::Tensor> results(const at::Tensor &like) {
  auto empty = [&] { return philox_empty(like.sizes(), at::kFloat, like.device()); };
  return {empty(), empty()};
}

}  // namespace

std::pair<at::Tensor, at::Tensor> diffusion_q_sample(const QSampleCall &call) {
  check_images(call.x_start, call.rows, kQSampleRow, {call.x_start, call.rows});
  auto made = results(call.x_start);
  if (call.x_start.numel() == 0) return made;
  QSampleCall c{dense(call.x_start), call.rows, call.key};
  if (c.x_start.is_cpu()) q_sample(c.shape(), c.inputs(), made.first.data_ptr<float>(), made.second.data_ptr<float>());
  else cuda_kernels().diffusion_q_sample(c, made.first, made.second);
  return made;
}

std::pair<at::Tensor, at::Tensor> diffusion_reverse_step(const ReverseCall &call) {
  check_images(call.x, call.rows, kReverseRow, {call.x, call.rows, call.out});
  check_output(call.out, call.x);
  ReverseCall c{dense(call.out), dense(call.x), call.rows, call.clip, call.noise};
  if (call.noise.defined()) {
    TORCH_CHECK(call.noise.sizes() == call.x.sizes(), "noise ", call.noise.sizes(), " does not fit images ", call.x.sizes());
    check_images(call.x, call.rows, kReverseRow, {call.noise});
    c.noise = dense(call.noise);
  }
  auto made = results(call.x);
  if (call.x.numel() == 0) return made;
  if (c.x.is_cpu()) reverse_step(c.shape(), c.inputs(), made.first.data_ptr<float>(), made.second.data_ptr<float>());
  else cuda_kernels().diffusion_reverse_step(c, made.first, made.second);
  return made;
}

}  // namespace iddpm
