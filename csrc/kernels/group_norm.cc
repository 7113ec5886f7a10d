// Group norm + scale-shift + SiLU on the CPU, for channels-last memory: a pixel is C
// contiguous values, so the inner loops run over channels.
#include "group_norm.h"

#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "cuda_kernels.h"
#include "simd.h"

namespace iddpm {
namespace {

using Shape = GroupNormShape;
using Affine = GroupNormAffine;
using Gradients = GroupNormGradients;

// ---- loops over the channels of consecutive pixels

// Per channel, sums of x - k and of (x - k)^2: a k near the mean avoids cancellation in
// the variance when the mean is large.
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

// The instances, each compiled for several instruction sets.
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

// Memory from libtorch's allocator, which caches it for the next call; malloc would
// coalesce blocks of this size each time that one is freed.
class Floats {
 public:
  explicit Floats(int64_t n) : memory_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(n) * sizeof(float))) {}
  float *data() const { return static_cast<float *>(memory_.get()); }

 private:
  at::DataPtr memory_;
};

// Runs f(task, sample, chunk) over all chunks of all samples.
template <class F>
void for_tasks(const Shape &s, F f) {
  at::parallel_for(0, s.tasks(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) f(t, t / s.chunks(), t % s.chunks());
  });
}

// Adds the rows of `width` partial sums of all chunks of sample n.
void gather(const Shape &s, int64_t n, const float *partial, int64_t width, double *sum) {
  std::fill(sum, sum + width, 0.0);
  for (int64_t t = n * s.chunks(); t < (n + 1) * s.chunks(); ++t) {
    for (int64_t i = 0; i < width; ++i) sum[i] += partial[t * width + i];
  }
}

template <class T>
void forward(const Shape &s, const T *x, const Affine &affine, double eps, bool silu, const GroupNormMoments<float> &moments,
             T *y) {
  Floats partial(s.tasks() * 2 * s.c);
  Floats firsts(s.n * s.c);
  float *k = firsts.data();
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t c = 0; c < s.c; ++c) k[n * s.c + c] = load(x + n * s.pixels * s.c + c);
  }
  for_tasks(s, [&](int64_t t, int64_t n, int64_t chunk) {
    float *sums = partial.data() + t * 2 * s.c;
    std::fill(sums, sums + 2 * s.c, 0.0f);
    run_moments(x + (n * s.pixels + s.first(chunk)) * s.c, k + n * s.c, s.count(chunk), s.c, sums, sums + s.c);
  });
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(2 * s.c));
    GroupNormSums sums{sum.data(), 0, s.c};
    for (int64_t n = begin; n < end; ++n) {
      gather(s, n, partial.data(), 2 * s.c, sum.data());
      for (int64_t c = 0; c < s.c; ++c) channel_moments(s, c, k[n * s.c + c], affine.added(n, c), sums);
      for (int64_t g = 0; g < s.groups; ++g) group_moments(s, n, g, sums, eps, moments);
      for (int64_t c = 0; c < s.c; ++c) channel_line(s, n, c, sums, affine, moments);
    }
  });
  for_tasks(s, [&](int64_t, int64_t n, int64_t chunk) {
    const float *a = moments.line + n * 2 * s.c;
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_apply(silu, x + at, a, a + s.c, s.count(chunk), s.c, y + at);
  });
}

template <class T>
void backward(const Shape &s, const T *x, const T *dy, const Affine &affine, const GroupNormMoments<const float> &moments,
              bool silu, const Gradients &out, T *dx) {
  Floats partial(s.tasks() * 2 * s.c);
  for_tasks(s, [&](int64_t t, int64_t n, int64_t chunk) {
    const float *a = moments.line + n * 2 * s.c;
    float *sums = partial.data() + t * 2 * s.c;
    std::fill(sums, sums + 2 * s.c, 0.0f);
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_sums(silu, x + at, dy + at, a, a + s.c, s.count(chunk), s.c, sums, sums + s.c);
  });
  Floats slopes(s.n * 2 * s.c);
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(2 * s.c));
    GroupNormSums sums{sum.data(), 0, s.c};
    for (int64_t n = begin; n < end; ++n) {
      gather(s, n, partial.data(), 2 * s.c, sum.data());
      for (int64_t c = 0; c < s.c; ++c) channel_gradients(s, n, c, sums, affine, moments, out);
      for (int64_t g = 0; g < s.groups; ++g) {
        GroupNormSlope slope = group_slope(s, n, g, sums, affine, moments);
        for (int64_t c = g * s.width(); c < (g + 1) * s.width(); ++c) {
          channel_slope(s, n, c, sums, slope, affine, moments, slopes.data(), out.input_bias);
        }
      }
    }
  });
  for_tasks(s, [&](int64_t, int64_t n, int64_t chunk) {
    const float *a = moments.line + n * 2 * s.c, *e = slopes.data() + n * 2 * s.c;
    int64_t at = (n * s.pixels + s.first(chunk)) * s.c;
    run_input(silu, x + at, dy + at, a, a + s.c, e, e + s.c, s.count(chunk), s.c, dx + at);
  });
}

// ---- tensors, on either device

template <class T>
void forward_of(const GroupNormCall &call, double eps, const GroupNormSaved &saved, at::Tensor &y) {
  forward(call.shape, call.x.const_data_ptr<T>(), call.affine(), eps, call.end.silu, saved.written(), y.data_ptr<T>());
}

// parts are defined on a GPU only.
void forward_any(const GroupNormCall &call, const GroupNormPair &parts, double eps, const GroupNormSaved &saved, at::Tensor &y) {
  if (!call.x.is_cpu()) return cuda_kernels().group_norm_forward(call, parts, eps, saved, y);
  call.x.scalar_type() == at::kFloat ? forward_of<float>(call, eps, saved, y)
                                     : forward_of<at::BFloat16>(call, eps, saved, y);
}

template <class T>
void backward_of(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const Gradients &out,
                 at::Tensor &dx) {
  backward(call.shape, call.x.const_data_ptr<T>(), dy.const_data_ptr<T>(), call.affine(), saved.read(), call.end.silu, out,
           dx.data_ptr<T>());
}

void backward_any(const GroupNormCall &call, const GroupNormSaved &saved, const at::Tensor &dy, const at::Tensor &more,
                  const Gradients &out, GroupNormPair &dx) {
  if (!call.x.is_cpu()) return cuda_kernels().group_norm_backward(call, saved, dy, more, out, dx);
  call.x.scalar_type() == at::kFloat ? backward_of<float>(call, saved, dy, out, dx.first)
                                     : backward_of<at::BFloat16>(call, saved, dy, out, dx.first);
  if (more.defined()) dx.first.add_(more);
}

// Sums rows [K, N, C] over N. On the CPU there are too few values to call an operator.
at::Tensor over_samples(const at::Tensor &rows) {
  if (!rows.is_cpu()) return rows.sum(1);
  int64_t n = rows.size(1), c = rows.size(2);
  at::Tensor totals = at::empty({rows.size(0), c}, rows.options());
  const float *row = rows.const_data_ptr<float>();
  float *sum = totals.data_ptr<float>();
  for (int64_t k = 0; k < rows.size(0); ++k, sum += c) {
    std::fill(sum, sum + c, 0.0f);
    for (int64_t i = 0; i < n; ++i, row += c) {
      for (int64_t j = 0; j < c; ++j) sum[j] += row[j];
    }
  }
  return totals;
}

// ---- the autograd node

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// An AutogradContext cannot store a struct.
void keep(AutogradContext *ctx, const GroupNormActivation &end) {
  ctx->saved_data["silu"] = end.silu;
  ctx->saved_data["drop"] = end.drop;
  ctx->saved_data["seed"] = static_cast<int64_t>(end.key.seed);
  ctx->saved_data["stream"] = static_cast<int64_t>(end.key.stream);
  ctx->saved_data["step"] = static_cast<int64_t>(end.key.step);
  ctx->saved_data["first_sample"] = end.key.first_sample;
  ctx->saved_data["step_of"] = reinterpret_cast<int64_t>(end.key.step_of);
}

GroupNormActivation kept(AutogradContext *ctx) {
  auto integer = [&](const char *name) { return ctx->saved_data[name].toInt(); };
  PhiloxKey key{static_cast<uint64_t>(integer("seed")), static_cast<uint32_t>(integer("stream")),
                static_cast<uint32_t>(integer("step")), integer("first_sample"),
                reinterpret_cast<const int64_t *>(integer("step_of"))};
  return {ctx->saved_data["silu"].toBool(), ctx->saved_data["drop"].toDouble(), key};
}

// An empty tensor of x's shape with another number of channels.
at::Tensor room(const at::Tensor &x, int64_t channels) {
  return at::empty({x.size(0), channels, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
}

class GroupNormSilu : public torch::autograd::Function<GroupNormSilu> {
 public:
  // An autograd function rejects undefined tensors but accepts absent optionals.
  using Optional = std::optional<Variable>;

  static variable_list forward(AutogradContext *ctx, const Variable &first, const Optional &rest, const Variable &w, const Variable &b,
                               const Optional &scale_shift, const Optional &input_bias, int64_t groups, double eps, GroupNormActivation end,
                               bool skip) {
    GroupNormPair parts;
    if (rest.has_value()) parts = {first, *rest};
    at::Tensor x = rest.has_value() ? room(first, first.size(1) + rest->size(1)) : first;
    GroupNormCall call(x, groups, {w, b, scale_shift.value_or(Variable()), input_bias.value_or(Variable())}, end);
    at::Tensor y = at::empty_like(x);
    GroupNormSaved saved(call.shape, w.options());
    forward_any(call, parts, eps, saved, y);
    ctx->set_materialize_grads(false);
    ctx->saved_data["first"] = first.size(1);
    ctx->save_for_backward({x, w, b, call.params.scale_shift, call.params.input_bias, saved.mean, saved.rstd, saved.channel_mean,
                            saved.line});
    ctx->saved_data["groups"] = groups;
    keep(ctx, end);
    return skip ? variable_list{y, x} : variable_list{y};
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list v = ctx->get_saved_variables(), result(10);
    auto dense = [](const Variable &g) { return g.defined() ? g.contiguous(at::MemoryFormat::ChannelsLast) : g; };
    at::Tensor dy = dense(grads[0]), more = grads.size() > 1 ? dense(grads[1]) : Variable();
    int64_t c = v[0].size(1), first = ctx->saved_data["first"].toInt();
    if (!dy.defined()) {
      if (more.defined()) result[0] = more.narrow(1, 0, first);
      if (more.defined() && first < c) result[1] = more.narrow(1, first, c - first);
      return result;
    }
    GroupNormCall call(v[0], ctx->saved_data["groups"].toInt(), {v[1], v[2], v[3], v[4]}, kept(ctx));
    GroupNormPair dx{room(call.x, first), first < c ? room(call.x, c - first) : at::Tensor()};
    at::Tensor dscale_shift, input_bias = call.params.input_bias;
    if (call.params.scale_shift.defined()) dscale_shift = at::empty_like(call.params.scale_shift);
    // Gradients of w, b and input_bias, each [N, C].
    at::Tensor rows = at::empty({input_bias.defined() ? 3 : 2, call.shape.n, call.shape.c}, call.params.w.options());
    auto row = [&](int64_t k) { return k < rows.size(0) ? rows.data_ptr<float>() + k * call.shape.n * call.shape.c : nullptr; };
    float *scale = dscale_shift.defined() ? dscale_shift.data_ptr<float>() : nullptr;
    backward_any(call, GroupNormSaved(v[5], v[6], v[7], v[8]), dy, more, {row(0), row(1), scale, row(2)}, dx);
    bool per_sample = input_bias.defined() && input_bias.dim() == 2;
    at::Tensor totals = over_samples(per_sample ? rows.narrow(0, 0, 2) : rows);
    result[0] = dx.first, result[1] = dx.rest, result[2] = totals[0], result[3] = totals[1], result[4] = dscale_shift;
    if (input_bias.defined()) result[5] = per_sample ? rows[2] : totals[2];
    return result;
  }
};

bool has_kernel(const at::Tensor &x, const GroupNormParams &p, int64_t channels) {
  for (const at::Tensor &t : {p.w, p.b, p.scale_shift, p.input_bias}) {  // of which rows may lie apart
    if (t.defined() && !(t.device() == x.device() && t.scalar_type() == at::kFloat && t.stride(-1) == 1)) return false;
  }
  at::ScalarType dtype = x.scalar_type();
  bool typed = dtype == at::kFloat || dtype == at::kBFloat16 || (dtype == at::kHalf && x.is_cuda());
  return typed && x.numel() > 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (x.is_cpu() || (x.is_cuda() && cuda_kernels().group_norm_supports(channels)));
}

at::Tensor composed(const at::Tensor &x, int64_t groups, const GroupNormParams &p, double eps, bool silu) {
  auto per_pixel = [&](const at::Tensor &t) { return t.to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1); };
  at::Tensor y = at::group_norm(p.input_bias.defined() ? x + per_pixel(p.input_bias) : x, groups, p.w, p.b, eps);
  if (p.scale_shift.defined()) {
    at::Tensor e = per_pixel(p.scale_shift);
    int64_t c = x.size(1);
    y = at::addcmul(e.narrow(1, c, c), y, e.narrow(1, 0, c) + 1);
  }
  return silu ? at::silu(y) : y;
}

void check_fits(at::IntArrayRef shape, int64_t groups, const GroupNormParams &p, const GroupNormActivation &end) {
  TORCH_CHECK(shape.size() == 4, "group norm + SiLU needs [N, C, H, W], not ", shape);
  int64_t n = shape[0], c = shape[1];
  TORCH_CHECK(groups > 0 && c % groups == 0, c, " channels are not divisible by ", groups, " groups");
  TORCH_CHECK(p.w.dim() == 1 && p.w.size(0) == c && p.b.sizes() == p.w.sizes(), "weight ", p.w.sizes(), " and bias ",
              p.b.sizes(), " do not fit ", c, " channels");
  TORCH_CHECK(!p.scale_shift.defined() || p.scale_shift.sizes() == at::IntArrayRef({n, 2 * c}), "scale and shift ",
              p.scale_shift.sizes(), " do not fit ", shape);
  TORCH_CHECK(!p.input_bias.defined() || p.input_bias.sizes() == at::IntArrayRef({c}) || p.input_bias.sizes() == at::IntArrayRef({n, c}),
              "the input bias ", p.input_bias.sizes(), " does not fit ", shape);
  TORCH_CHECK(end.drop >= 0 && end.drop < 1, "the dropout rate ", end.drop, " is not in [0, 1)");
}

variable_list apply_node(const GroupNormPair &x, int64_t groups, const GroupNormParams &p, double eps, const GroupNormActivation &end, bool skip) {
  auto optional = [](const at::Tensor &t) { return t.defined() ? std::optional<Variable>(t) : std::nullopt; };
  return GroupNormSilu::apply(x.first, optional(x.rest), p.w, p.b, optional(p.scale_shift), optional(p.input_bias), groups, eps, end, skip);
}

}  // namespace

at::Tensor group_norm_silu(const at::Tensor &x, int64_t groups, const GroupNormParams &p, double eps,
                           const GroupNormActivation &end, at::Tensor *skip) {
  check_fits(x.sizes(), groups, p, end);
  if (skip != nullptr) *skip = x;
  if (!has_kernel(x, p, x.size(1))) return philox_dropout(composed(x, groups, p, eps, end.silu), end.drop, end.key);
  bool with_skip = skip != nullptr && x.requires_grad();
  variable_list both = apply_node({x, {}}, groups, p, eps, end, with_skip);
  if (with_skip) *skip = both[1];
  return x.is_cpu() ? philox_dropout(both[0], end.drop, end.key) : both[0];
}

at::Tensor group_norm_silu_concat(const GroupNormPair &x, int64_t groups, const GroupNormParams &p, double eps,
                                  const GroupNormActivation &end, at::Tensor *skip) {
  TORCH_CHECK(x.first.dim() == 4 && x.rest.dim() == 4 && x.rest.dtype() == x.first.dtype() && x.rest.device() == x.first.device(),
              "a part ", x.rest.toString(), x.rest.sizes(), " does not fit ", x.first.toString(), x.first.sizes());
  int64_t channels = x.first.size(1) + x.rest.size(1);
  bool kernel = x.first.is_cuda() && has_kernel(x.first, p, channels) && has_kernel(x.rest, p, channels);
  if (!kernel) return group_norm_silu(at::cat({x.first, x.rest}, 1), groups, p, eps, end, skip);
  std::vector<int64_t> shape = x.first.sizes().vec(), other = x.rest.sizes().vec();
  shape[1] = other[1] = channels;
  TORCH_CHECK(shape == other, "parts ", x.first.sizes(), " and ", x.rest.sizes(), " do not fit together");
  check_fits(shape, groups, p, end);
  variable_list both = apply_node(x, groups, p, eps, end, true);
  *skip = both[1];
  return both[0];
}

}  // namespace iddpm
