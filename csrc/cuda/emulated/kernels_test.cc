// Compares the CUDA kernels, run on the CPU, with reference implementations.
#include <cstdio>

#include <torch/csrc/autograd/autograd.h>

#include "../../kernels/philox.h"
#include "../kernels.h"

namespace {

int failures = 0, comparisons = 0;

void check(bool good, const std::string &what, double difference) {
  ++comparisons;
  if (good) return;
  ++failures;
  printf("FAIL %s: differs by %g\n", what.c_str(), difference);
}

// Compares every element within `tolerance` times the largest of want, at least 1.
void near(const std::string &what, const at::Tensor &got, const at::Tensor &want, double tolerance) {
  at::Tensor a = got.to(at::kDouble), b = want.to(at::kDouble);
  double most = std::max(1.0, b.abs().max().item<double>()), d = (a - b).abs().max().item<double>();
  check(got.sizes() == want.sizes() && d <= tolerance * most, what, d);
}

std::string name(const char *kernel, at::IntArrayRef shape, at::ScalarType dtype) {
  std::ostringstream s;
  s << kernel << ' ' << shape << ' ' << dtype;
  return s.str();
}

// Each key is used as it is, and with a step offset in memory.
const int64_t added = 4;
const iddpm::PhiloxKey plain_key{0x123456789abcdefull, 17, 5, (int64_t{1} << 33) + 2};
const iddpm::PhiloxKey added_key{0x123456789abcdefull, 17, 1, (int64_t{1} << 33) + 2, &added};

void test_philox(const iddpm::PhiloxKey &key) {
  const std::vector<std::vector<int64_t>> shapes{{}, {3}, {1, 1}, {5, 7}, {2, 3, 5, 7}, {3, 64, 16, 16}, {1, 2, 1, 1}};
  for (const auto &shape : shapes) {
    at::Tensor want = iddpm::philox_normal(shape, at::kFloat, at::kCPU, plain_key), got = at::full_like(want, 99);
    iddpm::cuda::philox_normal(got, key);
    near(name("normal", shape, at::kFloat), got, want, 1e-6);
    want = iddpm::philox_uniform(shape, at::kFloat, at::kCPU, plain_key);
    iddpm::cuda::philox_uniform(got, key);
    check(got.equal(want), name("uniform", shape, at::kFloat), (got - want).abs().max().item<double>());
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      at::Tensor ones = at::ones_like(got, at::TensorOptions(dtype), at::MemoryFormat::Preserve);
      at::Tensor dropped = iddpm::philox_dropout(ones, 0.3, plain_key), mask = at::full_like(ones, 99);
      iddpm::cuda::philox_mask(mask, 0.3, key);
      check(mask.equal(dropped), name("dropout mask", shape, dtype), (mask - dropped).abs().max().item<double>());
    }
  }
}

// The operators that the kernel fuses, in float64, and their gradients.
struct NormReference {
  at::Tensor x, w, b, e, input_bias, y;

  NormReference(const iddpm::GroupNormCall &call, double eps) {
    auto leaf = [](const at::Tensor &t) { return t.to(at::kDouble).detach().requires_grad_(); };
    int64_t c = call.shape.c;
    x = leaf(call.x);
    w = leaf(call.params.w);
    b = leaf(call.params.b);
    if (call.params.input_bias.defined()) input_bias = leaf(call.params.input_bias);
    y = input_bias.defined() ? x + input_bias.unsqueeze(-1).unsqueeze(-1) : x;
    y = at::group_norm(y, call.shape.groups, w, b, eps);
    if (call.params.scale_shift.defined()) {
      e = leaf(call.params.scale_shift);
      at::Tensor wide = e.unsqueeze(2).unsqueeze(3);
      y = y * (wide.narrow(1, 0, c) + 1) + wide.narrow(1, c, c);
    }
    if (call.end.silu) y = at::silu(y);
    y = iddpm::philox_dropout(y, call.end.drop, call.end.key);
  }
};

void compare_group_norm(const std::string &what, const iddpm::GroupNormCall &call, double tolerance) {
  constexpr double eps = 1e-5;
  NormReference expected(call, eps);
  at::Tensor dy = at::randn_like(call.x), more;
  expected.y.backward(dy.to(at::kDouble));
  at::Tensor y = at::full_like(call.x, 99);
  iddpm::GroupNormPair dx{at::full_like(call.x, 99), {}};
  iddpm::GroupNormSaved saved(call.shape, at::TensorOptions(at::kFloat));
  iddpm::cuda::group_norm_forward(call, {}, eps, saved, y);
  near(what + " y", y, expected.y, tolerance);
  at::Tensor dw = at::full({call.shape.n, call.shape.c}, 99.0f), db = dw.clone(), de, dinput_bias;
  if (expected.e.defined()) de = at::full_like(call.params.scale_shift, 99);
  if (expected.input_bias.defined()) dinput_bias = dw.clone();
  auto data = [](const at::Tensor &t) { return t.defined() ? t.data_ptr<float>() : nullptr; };
  iddpm::cuda::group_norm_backward(call, saved, dy, more, {data(dw), data(db), data(de), data(dinput_bias)}, dx);
  near(what + " dx", dx.first, expected.x.grad(), tolerance);
  more = at::randn_like(call.x);
  iddpm::cuda::group_norm_backward(call, saved, dy, more, {data(dw), data(db), data(de), data(dinput_bias)}, dx);
  near(what + " dx and more", dx.first, expected.x.grad() + more.to(at::kDouble), tolerance);
  near(what + " dw", dw.sum(0), expected.w.grad(), 1e-4);
  near(what + " db", db.sum(0), expected.b.grad(), 1e-4);
  if (de.defined()) near(what + " dscale_shift", de, expected.e.grad(), 1e-4);
  // The sums nearly cancel within each group, so rounding errors dominate.
  if (dinput_bias.defined()) near(what + " dinput_bias", expected.input_bias.dim() == 1 ? dinput_bias.sum(0) : dinput_bias, expected.input_bias.grad(), 1e-4);
}

// Compares the results for x in two parts, the first with `split` channels, with those for
// x in one part.
void compare_concat(const std::string &what, const iddpm::GroupNormCall &whole, int64_t split, double tolerance) {
  constexpr double eps = 1e-5;
  int64_t c = whole.shape.c;
  auto part = [&](int64_t first, int64_t count) { return whole.x.narrow(1, first, count).contiguous(at::MemoryFormat::ChannelsLast); };
  iddpm::GroupNormPair x{part(0, split), part(split, c - split)}, dx_whole{at::full_like(whole.x, 99), {}};
  iddpm::GroupNormPair dx{at::full_like(x.first, 99), at::full_like(x.rest, 99)};
  iddpm::GroupNormCall concat(at::full_like(whole.x, 99), whole.shape.groups, whole.params, whole.end);
  at::Tensor y = at::full_like(whole.x, 99), want = y.clone(), dy = at::randn_like(y), more = at::randn_like(y);
  iddpm::GroupNormSaved saved(whole.shape, at::TensorOptions(at::kFloat)), saved_whole(whole.shape, at::TensorOptions(at::kFloat));
  iddpm::cuda::group_norm_forward(concat, x, eps, saved, y);
  iddpm::cuda::group_norm_forward(whole, {}, eps, saved_whole, want);
  check(concat.x.equal(whole.x), what + " x", 0);
  near(what + " y", y, want, tolerance);
  at::Tensor rows = at::full({4, whole.shape.n, c}, 99.0f), scale = at::full({whole.shape.n, 2 * c}, 99.0f);
  float *row = rows.data_ptr<float>();
  int64_t step = whole.shape.n * c;
  iddpm::GroupNormGradients out{row, row + step, whole.params.scale_shift.defined() ? scale.data_ptr<float>() : nullptr, nullptr};
  iddpm::cuda::group_norm_backward(concat, saved, dy, more, out, dx);
  iddpm::cuda::group_norm_backward(whole, saved_whole, dy, more, out, dx_whole);
  near(what + " dx", at::cat({dx.first, dx.rest}, 1), dx_whole.first, tolerance);
}

void test_group_norm() {
  struct Case {
    std::vector<int64_t> shape;
    int64_t groups;
    int64_t skipped;  // elements in front of x in memory: not aligned where it is odd
  };
  const std::vector<Case> cases{{{2, 32, 8, 8}, 32, 0},  {{1, 96, 5, 3}, 32, 0},    {{3, 288, 13, 11}, 32, 0}, {{2, 512, 1, 1}, 32, 0},
                                {{1, 640, 4, 4}, 32, 0}, {{1, 2048, 2, 2}, 32, 0},  {{2, 12, 16, 9}, 3, 0},    {{2, 7, 12, 12}, 1, 0},
                                {{1, 32, 32, 32}, 8, 0}, {{2, 64, 12, 12}, 32, 1},  {{2, 64, 18, 16}, 32, 1},  {{1, 384, 16, 16}, 32, 0},
                                {{2, 7, 20, 17}, 1, 0},  {{2, 12, 18, 17}, 3, 0},   {{1, 1024, 3, 3}, 32, 0},  {{1, 288, 23, 13}, 32, 0}};
  for (const Case &c : cases) {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (int variant = 0; variant < 8; ++variant) {
        bool silu = variant & 1, scaled = variant == 2 || variant == 3;
        iddpm::GroupNormActivation end{silu, variant < 6 ? 0.0 : 0.3, variant == 6 ? plain_key : added_key};
        int64_t n = c.shape[0], channels = c.shape[1], elements = n * channels * c.shape[2] * c.shape[3];
        at::Tensor memory = (at::randn({elements + c.skipped}) * 2 + 3).to(dtype);
        at::Tensor x = memory.narrow(0, c.skipped, elements).view({n, c.shape[2], c.shape[3], channels}).permute({0, 3, 1, 2});
        at::Tensor e = scaled ? at::randn({n, 2 * channels}) : at::Tensor(), input_bias;
        if (variant == 3) input_bias = at::randn({channels});
        if (variant >= 4) input_bias = at::randn({n, channels});
        iddpm::GroupNormCall call(x, c.groups, {at::randn({channels}), at::randn({channels}), e, input_bias}, end);
        double tolerance = dtype == at::kFloat ? 1e-5 : dtype == at::kHalf ? 2e-3 : 1e-2;
        compare_group_norm(name("group norm", c.shape, dtype) + " variant " + std::to_string(variant), call, tolerance);
        if (variant != 3 && variant != 7) continue;
        for (int64_t split : {channels / 2, channels / 3 + 1}) {
          compare_concat(name("concatenated norm", c.shape, dtype) + " at " + std::to_string(split), call, split, tolerance);
        }
      }
    }
  }
}

void test_residual_add() {
  const std::vector<std::vector<int64_t>> shapes{{2, 32, 8, 8}, {1, 5, 3, 7}, {3, 96, 1, 1}, {2, 12, 5, 5}, {1, 640, 16, 16}};
  for (const auto &shape : shapes) {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      auto draw = [&] { return at::randn(shape).to(dtype).contiguous(at::MemoryFormat::ChannelsLast); };
      at::Tensor x = draw(), h = draw(), b = at::randn({shape[1]}), y = at::full_like(x, 99);
      iddpm::cuda::residual_add(x, h, b, y);
      at::Tensor want = x.to(at::kDouble) + h.to(at::kDouble) + b.to(at::kDouble).view({-1, 1, 1});
      near(name("residual", shape, dtype), y, want, dtype == at::kFloat ? 1e-6 : dtype == at::kHalf ? 1e-3 : 4e-3);
    }
  }
}

// The reference is the CPU kernel, which Go tests compare with libtorch's operators.
void test_diffusion_losses() {
  const std::vector<std::vector<int64_t>> shapes{{5, 3, 7, 4}, {2, 1, 1, 1}, {3, 3, 32, 32}, {1, 4, 64, 33}};
  for (const auto &shape : shapes) {
    for (int variant = 0; variant < 8; ++variant) {
      bool learned = variant & 1, bound = variant & 2, through = variant & 4;
      int64_t n = shape[0], c = shape[1];
      auto draw = [&](int64_t channels) {
        return at::randn({n, channels, shape[2], shape[3]}).contiguous(at::MemoryFormat::ChannelsLast);
      };
      at::Tensor x_start = (draw(c) * 1.2).clamp(-1, 1), target = draw(c), out = draw(learned ? 2 * c : c), rows = at::rand({n, 8});
      rows.select(1, 5).copy_(at::arange(n).remainder(2));  // t = 0 in every other row
      iddpm::LossCall call{out.clone().requires_grad_(), target, x_start, rows.narrow(1, 1, 5), bound, through};
      std::vector<at::Tensor> want = iddpm::diffusion_losses(call);
      at::Tensor g = at::randn({n}), gb = at::randn({n}), mse = at::full({n}, 99.0f), vb = bound ? mse.clone() : at::Tensor();
      bound ? torch::autograd::backward({want[0], want[1]}, {g, gb}) : want[0].backward(g);
      std::string what = name("losses", shape, at::kFloat) + " variant " + std::to_string(variant);
      iddpm::cuda::diffusion_losses(call, mse, vb);
      near(what + " mse", mse, want[0], 1e-6);
      if (bound) near(what + " bound", vb, want[1], 1e-6);
      at::Tensor d_out = at::full_like(out, 99);
      iddpm::cuda::diffusion_losses_backward(call, g, bound ? gb : at::Tensor(), d_out);
      near(what + " gradient", d_out, call.out.grad(), 1e-6);
    }
  }
}

// Images in channels-last memory, unaligned if `skipped` is odd.
at::Tensor draw_images(const std::vector<int64_t> &shape, int64_t channels, int64_t skipped) {
  int64_t n = shape[0], h = shape[2], w = shape[3];
  at::Tensor memory = at::randn({n * channels * h * w + skipped}).narrow(0, skipped, n * channels * h * w);
  return memory.view({n, h, w, channels}).permute({0, 3, 1, 2});
}

struct StepCase {
  std::vector<int64_t> shape;
  int64_t skipped;
};
const std::vector<StepCase> step_cases{{{5, 3, 7, 4}, 0},   {{2, 1, 1, 1}, 0},   {{3, 1, 5, 3}, 0},
                                       {{3, 3, 32, 32}, 0}, {{3, 3, 32, 32}, 1}, {{1, 4, 64, 33}, 0}};

void test_q_sample() {
  for (const StepCase &c : step_cases) {
    at::Tensor x = draw_images(c.shape, c.shape[1], c.skipped), rows = at::rand({c.shape[0], 4}).narrow(1, 1, 2);
    auto [want, want_noise] = iddpm::diffusion_q_sample({x, rows, plain_key});
    at::Tensor x_t = at::full_like(want, 99), noise = at::full_like(want, 99);
    iddpm::cuda::diffusion_q_sample({x, rows, added_key}, x_t, noise);
    std::string what = name("q sample", c.shape, at::kFloat) + (c.skipped ? " skipped" : "");
    near(what + " noise", noise, want_noise, 1e-6);
    near(what + " x_t", x_t, want, 1e-6);
  }
}

void test_reverse_step() {
  for (const StepCase &c : step_cases) {
    for (int variant = 0; variant < 8; ++variant) {
      bool learned = variant & 1, clip = variant & 2, noisy = variant & 4;
      int64_t n = c.shape[0], channels = c.shape[1];
      at::Tensor out = draw_images(c.shape, learned ? 2 * channels : channels, c.skipped);
      at::Tensor rows = at::randn({n, 11}).narrow(1, 2, 8);
      rows.select(0, 0).narrow(0, 0, 3).zero_();
      at::Tensor noise = noisy ? draw_images(c.shape, channels, c.skipped) : at::Tensor();
      iddpm::ReverseCall call{out, draw_images(c.shape, channels, c.skipped), rows, clip, noise};
      auto [want, want_x_start] = iddpm::diffusion_reverse_step(call);
      at::Tensor previous = at::full_like(want, 99), x_start = at::full_like(want, 99);
      iddpm::cuda::diffusion_reverse_step(call, previous, x_start);
      std::string what = name("reverse step", c.shape, at::kFloat) + " variant " + std::to_string(variant);
      near(what + " x_{t-1}", previous, want, 1e-6);
      near(what + " x_0", x_start, want_x_start, 1e-6);
    }
  }
}

// Infinities and NaNs must propagate as in the CPU kernel.
void test_reverse_step_broken() {
  at::Tensor x = draw_images({1, 1, 2, 2}, 1, 0);
  at::Tensor rows = at::tensor({1.5f, -0.5f, 0.4f, 0.6f, 0.0f, 0.0f, 1.0f, 0.0f}).view({1, 8});
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  at::Tensor out = at::tensor({nan, 0.0f, inf, 0.0f, 0.0f, nan, 0.0f, 400.0f}).view({1, 2, 2, 2}).permute({0, 3, 1, 2});
  iddpm::ReverseCall call{out, x, rows, true, x};
  auto [want, want_x_start] = iddpm::diffusion_reverse_step(call);
  at::Tensor previous = at::full_like(want, 99), x_start = at::full_like(want, 99);
  iddpm::cuda::diffusion_reverse_step(call, previous, x_start);
  bool same = at::allclose(previous, want, 1e-6, 1e-6, true) && at::allclose(x_start, want_x_start, 1e-6, 1e-6, true);
  check(same && previous.isnan().sum().item<int64_t>() == 3, "broken reverse step", 0);
}

// Compares with libtorch's update in float64, for sizes that are and are not multiples of a
// block's chunk.
void test_adamw() {
  for (int variant = 0; variant < 6; ++variant) {
    std::vector<std::vector<int64_t>> shapes{{1}, {3, 5}, {8192}, {0}, {8193}, {4, 7, 3, 3}, {129, 256}};
    if (variant == 2) shapes.resize(510, {2});  // more than one table holds
    iddpm::AdamWCall call{{}, {}, {}, {}, {}, std::vector<iddpm::Ema>(variant % 3), at::full({}, 4.0f), {1e-2, 0.9, 0.999, 0.05, 1e-8}, {}, {}, {}};
    for (const auto &shape : shapes) {
      for (iddpm::Tensors *list : {&call.params, &call.grads, &call.exp_avg}) list->push_back(at::randn(shape));
      call.exp_avg_sq.push_back(at::rand(shape));
      bool copied = variant % 2 == 0 && call.params.size() % 2 == 0;
      if (copied && call.params.size() % 4 == 0) call.grads.back() = call.grads.back().to(at::kBFloat16);
      call.working.push_back(copied ? at::full(shape, 99, at::kBFloat16) : at::Tensor());
      for (iddpm::Ema &a : call.emas) a.tensors.push_back(at::randn(shape));
    }
    for (size_t r = 0; r < call.emas.size(); ++r) call.emas[r].rate = 0.9 + 0.05 * static_cast<double>(r);
    bool skips = variant == 4 || variant == 5;
    if (variant % 2 == 1) call.lr = at::full({1}, 3e-3, at::kDouble);
    if (variant >= 3) call.skip = at::full({1}, skips ? 1.0f : 0.0f);
    if (variant >= 1) call.grad_scale = at::full({1}, 0.3f);
    auto exact = [](iddpm::Tensors &list) {
      for (at::Tensor &t : list) t = t.to(at::kDouble);
    };
    iddpm::AdamWCall expected = call;
    for (iddpm::Tensors *list : {&expected.params, &expected.grads, &expected.exp_avg, &expected.exp_avg_sq}) exact(*list);
    for (iddpm::Ema &a : expected.emas) exact(a.tensors);
    expected.working.assign(shapes.size(), at::Tensor());
    expected.skip = expected.lr = at::Tensor();
    if (call.lr.defined()) expected.options.lr = 3e-3;
    if (!skips) iddpm::adamw_(expected);
    iddpm::cuda::adamw(call);
    for (size_t k = 0; k < shapes.size(); ++k) {
      if (call.params[k].numel() == 0) continue;
      std::string what = name("adamw", shapes[k], at::kFloat) + " variant " + std::to_string(variant);
      near(what + " p", call.params[k], expected.params[k], 1e-6);
      near(what + " m", call.exp_avg[k], expected.exp_avg[k], 1e-6);
      near(what + " v", call.exp_avg_sq[k], expected.exp_avg_sq[k], 1e-6);
      if (const at::Tensor &w = call.working[k]; w.defined()) {
        check(w.equal(skips ? at::full_like(w, 99) : call.params[k].to(at::kBFloat16)), what + " working weight", 0);
      }
      for (size_t r = 0; r < call.emas.size(); ++r) near(what + " EMA", call.emas[r].tensors[k], expected.emas[r].tensors[k], 1e-6);
    }
  }
}

void test_all() {
  at::manual_seed(1);
  test_philox(plain_key);
  test_philox(added_key);
  test_group_norm();
  test_residual_add();
  test_diffusion_losses();
  test_q_sample();
  test_reverse_step();
  test_reverse_step_broken();
  test_adamw();
}

}  // namespace

int main() {
  test_all();
  emulated::set_backward(true);
  test_all();
  printf("CUDA kernels on the CPU: %d comparisons, %d passed, %d failed\n", comparisons, comparisons - failures, failures);
  return failures != 0;
}
