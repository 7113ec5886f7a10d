// The CPU side of group norm + scale-shift + SiLU, for channels-last memory: a
// pixel is a run of C values, so every loop below runs over channels.
#include "group_norm.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "simd.h"

namespace iddpm {
namespace {

// Pixels per task. It depends on nothing but this line, so neither do the
// partial sums, whatever the number of threads.
constexpr int64_t kChunk = 128;

struct Shape {
  int64_t n, c, pixels, groups, chunks;
  int64_t tasks() const { return n * chunks; }
  int64_t first(int64_t chunk) const { return chunk * kChunk; }
  int64_t count(int64_t chunk) const { return std::min(kChunk, pixels - first(chunk)); }
};

Shape shape_of(const at::Tensor &x, int64_t groups) {
  Shape s{x.size(0), x.size(1), x.size(2) * x.size(3), groups, 0};
  s.chunks = (s.pixels + kChunk - 1) / kChunk;
  return s;
}

// ---- loops over the channels of consecutive pixels

// Per channel, sums of x - k and of (x - k)^2: k near the mean keeps the
// variance exact where the mean is large.
template <class T>
IDDPM_INLINE void moments(const T *x, const float *k, int64_t pixels, int64_t c, float *s1, float *s2) {
  for (int64_t p = 0; p < pixels; ++p, x += c) {
#pragma omp simd
    for (int64_t i = 0; i < c; ++i) {
      float d = load(x + i) - k[i];
      s1[i] += d;
      s2[i] += d * d;
    }
  }
}

// y = f(a x + d).
template <class T, bool kSilu>
IDDPM_INLINE void apply(const T *x, const float *a, const float *d, int64_t pixels, int64_t c, T *y) {
  for (int64_t p = 0; p < pixels; ++p, x += c, y += c) {
#pragma omp simd
    for (int64_t i = 0; i < c; ++i) {
      float u = a[i] * load(x + i) + d[i];
      store(y + i, kSilu ? u * sigmoid(u) : u);
    }
  }
}

// dy f'(u).
template <bool kSilu>
IDDPM_INLINE float through(float u, float dy) {
  if (!kSilu) return dy;
  float s = sigmoid(u);
  return dy * s * (1.0f + u * (1.0f - s));
}

// Per channel, sums of du and of du x.
template <class T, bool kSilu>
IDDPM_INLINE void gradient_sums(const T *x, const T *dy, const float *a, const float *d, int64_t pixels, int64_t c,
                                float *s0, float *s1) {
  for (int64_t p = 0; p < pixels; ++p, x += c, dy += c) {
#pragma omp simd
    for (int64_t i = 0; i < c; ++i) {
      float v = load(x + i);
      float du = through<kSilu>(a[i] * v + d[i], load(dy + i));
      s0[i] += du;
      s1[i] += du * v;
    }
  }
}

// dx = a du + e x + f.
template <class T, bool kSilu>
IDDPM_INLINE void input_gradient(const T *x, const T *dy, const float *a, const float *d, const float *e,
                                 const float *f, int64_t pixels, int64_t c, T *dx) {
  for (int64_t p = 0; p < pixels; ++p, x += c, dy += c, dx += c) {
#pragma omp simd
    for (int64_t i = 0; i < c; ++i) {
      float v = load(x + i);
      float du = through<kSilu>(a[i] * v + d[i], load(dy + i));
      store(dx + i, a[i] * du + e[i] * v + f[i]);
    }
  }
}

// The instances, each compiled for every kind of processor.
#define IDDPM_INSTANCES(T)                                                                                        \
  IDDPM_CLONES void run_moments(const T *x, const float *k, int64_t n, int64_t c, float *s1, float *s2) {         \
    moments(x, k, n, c, s1, s2);                                                                                  \
  }                                                                                                               \
  IDDPM_CLONES void run_apply(bool silu, const T *x, const float *a, const float *d, int64_t n, int64_t c, T *y) { \
    silu ? apply<T, true>(x, a, d, n, c, y) : apply<T, false>(x, a, d, n, c, y);                                  \
  }                                                                                                               \
  IDDPM_CLONES void run_sums(bool silu, const T *x, const T *dy, const float *a, const float *d, int64_t n,       \
                             int64_t c, float *s0, float *s1) {                                                   \
    silu ? gradient_sums<T, true>(x, dy, a, d, n, c, s0, s1) : gradient_sums<T, false>(x, dy, a, d, n, c, s0, s1); \
  }                                                                                                               \
  IDDPM_CLONES void run_input(bool silu, const T *x, const T *dy, const float *a, const float *d, const float *e, \
                              const float *f, int64_t n, int64_t c, T *dx) {                                      \
    silu ? input_gradient<T, true>(x, dy, a, d, e, f, n, c, dx)                                                   \
         : input_gradient<T, false>(x, dy, a, d, e, f, n, c, dx);                                                 \
  }
IDDPM_INSTANCES(float)
IDDPM_INSTANCES(at::BFloat16)
#undef IDDPM_INSTANCES

// ---- per sample and channel

// Runs f(task, sample, chunk) over all chunks of all samples.
template <class F>
void for_tasks(const Shape &s, F f) {
  at::parallel_for(0, s.tasks(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) f(t, t / s.chunks, t % s.chunks);
  });
}

// What a sample's channels are multiplied by and shifted by: u = a x + d.
struct Affine {
  const float *w, *b, *scale_shift;  // scale_shift may be NULL

  float gain(const Shape &s, int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 1.0f : 1.0f + scale_shift[2 * n * s.c + c];
  }
  float shift(const Shape &s, int64_t n, int64_t c) const {
    return scale_shift == nullptr ? 0.0f : scale_shift[(2 * n + 1) * s.c + c];
  }
  void fill(const Shape &s, int64_t n, const float *mean, const float *rstd, float *a, float *d) const {
    int64_t width = s.c / s.groups;
    for (int64_t c = 0; c < s.c; ++c) {
      int64_t g = n * s.groups + c / width;
      a[c] = w[c] * gain(s, n, c) * rstd[g];
      d[c] = b[c] * gain(s, n, c) + shift(s, n, c) - mean[g] * a[c];
    }
  }
};

// Adds up the chunks' rows of `width` sums of sample n.
void gather(const Shape &s, int64_t n, const float *partial, int64_t width, double *sum) {
  std::fill(sum, sum + width, 0.0);
  for (int64_t t = n * s.chunks; t < (n + 1) * s.chunks; ++t) {
    for (int64_t i = 0; i < width; ++i) sum[i] += partial[t * width + i];
  }
}

// Mean and 1 / standard deviation of every group, from the channels' sums
// about k.
void group_moments(const Shape &s, int64_t n, const double *sum, const float *k, double eps, float *mean,
                   float *rstd) {
  int64_t width = s.c / s.groups;
  double pixels = static_cast<double>(s.pixels);
  for (int64_t g = 0; g < s.groups; ++g) {
    double total = 0, squares = 0;
    for (int64_t c = g * width; c < (g + 1) * width; ++c) total += k[c] + sum[c] / pixels;
    double m = total / static_cast<double>(width);
    for (int64_t c = g * width; c < (g + 1) * width; ++c) {
      double off = k[c] + sum[c] / pixels - m;
      squares += sum[s.c + c] - sum[c] * sum[c] / pixels + pixels * off * off;
    }
    double variance = std::max(0.0, squares / (pixels * static_cast<double>(width)));
    mean[n * s.groups + g] = static_cast<float>(m);
    rstd[n * s.groups + g] = static_cast<float>(1.0 / std::sqrt(variance + eps));
  }
}

const float *floats(const at::Tensor &t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

template <class T>
void forward(const Shape &s, const T *x, const Affine &affine, double eps, bool silu, float *mean, float *rstd, T *y) {
  std::vector<float> partial(static_cast<size_t>(s.tasks() * 2 * s.c));
  std::vector<float> k(static_cast<size_t>(s.n * s.c));
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t c = 0; c < s.c; ++c) k[n * s.c + c] = load(x + n * s.pixels * s.c + c);
  }
  for_tasks(s, [&](int64_t t, int64_t n, int64_t chunk) {
    float *sums = partial.data() + t * 2 * s.c;
    run_moments(x + (n * s.pixels + s.first(chunk)) * s.c, k.data() + n * s.c, s.count(chunk), s.c, sums, sums + s.c);
  });
  std::vector<float> affines(static_cast<size_t>(s.n * 2 * s.c));
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(2 * s.c));
    for (int64_t n = begin; n < end; ++n) {
      gather(s, n, partial.data(), 2 * s.c, sum.data());
      group_moments(s, n, sum.data(), k.data() + n * s.c, eps, mean, rstd);
      affine.fill(s, n, mean, rstd, affines.data() + n * 2 * s.c, affines.data() + (n * 2 + 1) * s.c);
    }
  });
  for_tasks(s, [&](int64_t, int64_t n, int64_t chunk) {
    const float *a = affines.data() + n * 2 * s.c;
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_apply(silu, x + at, a, a + s.c, s.count(chunk), s.c, y + at);
  });
}

// The gradients that the parameters of sample n get, from its channels' sums of
// du and du x.
struct Gradients {
  float *w, *b, *scale_shift;  // w and b are [N, C], to be summed over N; scale_shift may be NULL
};

// Fills e and f of dx = a du + e x + f, and the parameters' gradients.
void backward_sample(const Shape &s, int64_t n, const double *sum, const Affine &affine, const float *mean,
                     const float *rstd, const Gradients &out, float *e, float *f) {
  int64_t width = s.c / s.groups;
  double count = static_cast<double>(s.pixels * width);
  for (int64_t g = 0; g < s.groups; ++g) {
    double m = mean[n * s.groups + g], r = rstd[n * s.groups + g], of_du = 0, of_duxhat = 0;
    for (int64_t c = g * width; c < (g + 1) * width; ++c) {
      double s0 = sum[c], sx = (sum[s.c + c] - m * s0) * r;  // sums of du and of du xhat
      double gain = affine.gain(s, n, c);
      of_du += affine.w[c] * gain * s0;
      of_duxhat += affine.w[c] * gain * sx;
      out.w[n * s.c + c] = static_cast<float>(gain * sx);
      out.b[n * s.c + c] = static_cast<float>(gain * s0);
      if (out.scale_shift == nullptr) continue;
      out.scale_shift[2 * n * s.c + c] = static_cast<float>(affine.w[c] * sx + affine.b[c] * s0);
      out.scale_shift[(2 * n + 1) * s.c + c] = static_cast<float>(s0);
    }
    double slope = -r * r * of_duxhat / count;
    double offset = -r * of_du / count - slope * m;
    std::fill(e + g * width, e + (g + 1) * width, static_cast<float>(slope));
    std::fill(f + g * width, f + (g + 1) * width, static_cast<float>(offset));
  }
}

template <class T>
void backward(const Shape &s, const T *x, const T *dy, const Affine &affine, const float *mean, const float *rstd,
              bool silu, const Gradients &out, T *dx) {
  std::vector<float> affines(static_cast<size_t>(s.n * 4 * s.c));  // a, d, e, f of every sample
  for (int64_t n = 0; n < s.n; ++n) {
    affine.fill(s, n, mean, rstd, affines.data() + n * 4 * s.c, affines.data() + (n * 4 + 1) * s.c);
  }
  std::vector<float> partial(static_cast<size_t>(s.tasks() * 2 * s.c));
  for_tasks(s, [&](int64_t t, int64_t n, int64_t chunk) {
    const float *a = affines.data() + n * 4 * s.c;
    float *sums = partial.data() + t * 2 * s.c;
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_sums(silu, x + at, dy + at, a, a + s.c, s.count(chunk), s.c, sums, sums + s.c);
  });
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(2 * s.c));
    for (int64_t n = begin; n < end; ++n) {
      gather(s, n, partial.data(), 2 * s.c, sum.data());
      float *a = affines.data() + n * 4 * s.c;
      backward_sample(s, n, sum.data(), affine, mean, rstd, out, a + 2 * s.c, a + 3 * s.c);
    }
  });
  for_tasks(s, [&](int64_t, int64_t n, int64_t chunk) {
    const float *a = affines.data() + n * 4 * s.c;
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_input(silu, x + at, dy + at, a, a + s.c, a + 2 * s.c, a + 3 * s.c, s.count(chunk), s.c, dx + at);
  });
}

// ---- the autograd node

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class GroupNormSilu : public torch::autograd::Function<GroupNormSilu> {
 public:
  static Variable forward(AutogradContext *ctx, const Variable &x, int64_t groups, const Variable &w,
                          const Variable &b, const std::optional<Variable> &optional_scale_shift, double eps,
                          bool silu) {
    Shape s = shape_of(x, groups);
    Variable scale_shift = optional_scale_shift.value_or(Variable());
    at::Tensor y = at::empty_like(x);
    at::Tensor mean = at::empty({s.n, groups}, w.options()), rstd = at::empty({s.n, groups}, w.options());
    Affine affine{floats(w), floats(b), floats(scale_shift)};
    if (x.scalar_type() == at::kFloat) {
      iddpm::forward(s, x.const_data_ptr<float>(), affine, eps, silu, mean.data_ptr<float>(), rstd.data_ptr<float>(),
                     y.data_ptr<float>());
    } else {
      iddpm::forward(s, x.const_data_ptr<at::BFloat16>(), affine, eps, silu, mean.data_ptr<float>(),
                     rstd.data_ptr<float>(), y.data_ptr<at::BFloat16>());
    }
    ctx->save_for_backward({x, w, b, scale_shift, mean, rstd});
    ctx->saved_data["groups"] = groups;
    ctx->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1], &b = saved[2], &scale_shift = saved[3];
    Shape s = shape_of(x, ctx->saved_data["groups"].toInt());
    bool silu = ctx->saved_data["silu"].toBool();
    at::Tensor dy = grads[0].contiguous(at::MemoryFormat::ChannelsLast), dx = at::empty_like(x);
    at::Tensor dw = at::empty({s.n, s.c}, w.options()), db = at::empty({s.n, s.c}, w.options());
    at::Tensor dscale_shift = scale_shift.defined() ? at::empty_like(scale_shift) : at::Tensor();
    Affine affine{floats(w), floats(b), floats(scale_shift)};
    Gradients out{dw.data_ptr<float>(), db.data_ptr<float>(),
                  dscale_shift.defined() ? dscale_shift.data_ptr<float>() : nullptr};
    if (x.scalar_type() == at::kFloat) {
      iddpm::backward(s, x.const_data_ptr<float>(), dy.const_data_ptr<float>(), affine, floats(saved[4]),
                      floats(saved[5]), silu, out, dx.data_ptr<float>());
    } else {
      iddpm::backward(s, x.const_data_ptr<at::BFloat16>(), dy.const_data_ptr<at::BFloat16>(), affine, floats(saved[4]),
                      floats(saved[5]), silu, out, dx.data_ptr<at::BFloat16>());
    }
    return {dx, Variable(), dw.sum(0), db.sum(0), dscale_shift, Variable(), Variable()};
  }
};

bool has_kernel(const at::Tensor &x, const at::Tensor &w, const at::Tensor &b, const at::Tensor &scale_shift) {
  auto plain = [](const at::Tensor &t) { return t.is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous(); };
  return x.is_cpu() && x.dim() == 4 && x.numel() > 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && plain(w) && plain(b) &&
         (!scale_shift.defined() || plain(scale_shift));
}

at::Tensor composed(const at::Tensor &x, int64_t groups, const at::Tensor &w, const at::Tensor &b,
                    const at::Tensor &scale_shift, double eps, bool silu) {
  at::Tensor y = at::group_norm(x, groups, w, b, eps);
  if (scale_shift.defined()) {
    at::Tensor e = scale_shift.to(x.scalar_type()).unsqueeze(2).unsqueeze(3);
    int64_t c = x.size(1);
    y = at::addcmul(e.narrow(1, c, c), y, e.narrow(1, 0, c) + 1);
  }
  return silu ? at::silu(y) : y;
}

}  // namespace

at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const at::Tensor &w, const at::Tensor &b,
                           const at::Tensor &scale_shift, double eps, bool silu) {
  TORCH_CHECK(x.dim() == 4, "group norm + SiLU takes [N, C, H, W], not ", x.sizes());
  int64_t c = x.size(1);
  TORCH_CHECK(groups > 0 && c % groups == 0, c, " channels do not split into ", groups, " groups");
  TORCH_CHECK(w.dim() == 1 && w.size(0) == c && b.sizes() == w.sizes(), "weight ", w.sizes(), " and bias ", b.sizes(),
              " do not fit ", c, " channels");
  TORCH_CHECK(!scale_shift.defined() || (scale_shift.dim() == 2 && scale_shift.size(0) == x.size(0) && scale_shift.size(1) == 2 * c),
              "scale and shift do not fit ", x.sizes());
  if (!has_kernel(x, w, b, scale_shift)) return composed(x, groups, w, b, scale_shift, eps, silu);
  // An autograd function takes no undefined tensor, but an absent one.
  std::optional<Variable> optional = scale_shift.defined() ? std::optional<Variable>(scale_shift) : std::nullopt;
  return GroupNormSilu::apply(x, groups, w, b, optional, eps, silu);
}

}  // namespace iddpm
