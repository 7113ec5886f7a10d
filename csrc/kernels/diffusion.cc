#include "diffusion.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "cuda_kernels.h"

namespace iddpm {
namespace {

void forward(const ImageShape &s, const LossInputs &in, float *mse, float *bound) {
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      double squares = 0, nats = 0;
      for (int64_t i = 0; i < s.elements(); ++i) {
        LossElement e = in.element(s, n, i);
        squares += e.error() * e.error();
        if (in.bound) nats += bound_term(in.rows[n], e);
      }
      double elements = static_cast<double>(s.elements());
      mse[n] = static_cast<float>(squares / elements);
      if (in.bound) bound[n] = static_cast<float>(nats / elements / M_LN2);
    }
  });
}

void backward(const ImageShape &s, const LossInputs &in, const LossGradients &g, float *d_out) {
  constexpr int64_t kGrain = 4096;
  at::parallel_for(0, s.n * s.elements(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) g.apply(s, in, k / s.elements(), k % s.elements(), d_out);
  });
}

float *data(const at::Tensor &t) { return t.defined() ? t.data_ptr<float>() : nullptr; }

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class DiffusionLosses : public torch::autograd::Function<DiffusionLosses> {
 public:
  static variable_list forward(AutogradContext *ctx, const Variable &out, const LossCall &call) {
    ImageShape s = call.shape();
    at::Tensor mse = at::empty({s.n}, out.options()), bound;
    if (call.bound) bound = at::empty_like(mse);
    out.is_cpu() ? iddpm::forward(s, call.inputs(), data(mse), data(bound)) : cuda_kernels().diffusion_losses(call, mse, bound);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({out, call.target, call.x_start, call.rows});
    ctx->saved_data["bound"] = call.bound;
    ctx->saved_data["through"] = call.through;
    return call.bound ? variable_list{mse, bound} : variable_list{mse};
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    variable_list v = ctx->get_saved_variables();
    LossCall call{v[0], v[1], v[2], v[3], ctx->saved_data["bound"].toBool(), ctx->saved_data["through"].toBool()};
    auto dense = [](const at::Tensor &t) { return t.defined() ? t.contiguous() : t; };
    at::Tensor mse = dense(grads[0]), bound = call.bound ? dense(grads[1]) : at::Tensor(), d_out = at::empty_like(call.out);
    call.out.is_cpu() ? iddpm::backward(call.shape(), call.inputs(), {data(mse), data(bound)}, data(d_out))
                      : cuda_kernels().diffusion_losses_backward(call, mse, bound, d_out);
    return {d_out, Variable()};
  }
};

void check_fits(const LossCall &c) {
  TORCH_CHECK(c.target.dim() == 4 && c.x_start.sizes() == c.target.sizes(), "a target ", c.target.sizes(), " and x_0 ",
              c.x_start.sizes(), " are not images of one shape");
  check_output(c.out, c.target);
  check_rows(c.rows, c.target, kLossRow);
  for (const at::Tensor &t : {c.out, c.target, c.x_start, c.rows}) {
    TORCH_CHECK(t.scalar_type() == at::kFloat && t.device() == c.out.device(), "the losses need float32 tensors of one device, not ",
                t.toString());
  }
  TORCH_CHECK(c.target.numel() > 0, "the losses need at least one image");
}

}  // namespace

void check_output(const at::Tensor &out, const at::Tensor &images) {
  std::vector<int64_t> once = images.sizes().vec(), twice = once;
  twice[1] *= 2;
  TORCH_CHECK(out.sizes() == once || out.sizes() == twice, "the network's ", out.sizes(), " does not fit images ", images.sizes());
}

void check_rows(const at::Tensor &rows, const at::Tensor &images, int64_t columns) {
  TORCH_CHECK(rows.sizes() == at::IntArrayRef({images.size(0), columns}) && rows.stride(1) == 1, "rows ", rows.sizes(),
              " do not fit ", images.size(0), " images");
}

std::vector<at::Tensor> diffusion_losses(const LossCall &call) {
  check_fits(call);
  auto dense = [](const at::Tensor &t) { return t.contiguous(at::MemoryFormat::ChannelsLast); };
  at::Tensor out = dense(call.out);
  return DiffusionLosses::apply(
      out, LossCall{out, dense(call.target), dense(call.x_start), call.rows, call.bound, call.through});
}

}  // namespace iddpm
