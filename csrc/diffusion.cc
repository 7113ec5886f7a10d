// The diffusion's arithmetic.
#include "handle.h"
#include "kernels/diffusion_steps.h"

using namespace iddpm;

namespace {

// Runs f, which returns two tensors.
template <class F>
gt_pair guard_both(F &&f) noexcept {
  gt_pair p{nullptr, nullptr, nullptr};
  p.error = guard([&] {
    std::pair<at::Tensor, at::Tensor> both = f();
    p.first = wrap(both.first);
    p.second = wrap(both.second);
  });
  return p;
}

}  // namespace

gt_pair gt_diffusion_losses(gt_tensor out, gt_tensor target, gt_tensor x_start, gt_tensor rows, int32_t bound, int32_t through) {
  gt_pair p{nullptr, nullptr, nullptr};
  p.error = guard([&] {
    std::vector<at::Tensor> losses =
        diffusion_losses({unwrap(out), unwrap(target), unwrap(x_start), unwrap(rows), bound != 0, through != 0});
    p.first = wrap(losses[0]);
    if (bound != 0) p.second = wrap(losses[1]);
  });
  return p;
}

gt_pair gt_diffusion_q_sample(gt_tensor x_start, gt_tensor rows, gt_philox_key key, gt_tensor step_of) {
  return guard_both([&] {
    const at::Tensor &x = unwrap(x_start);
    return diffusion_q_sample({x, unwrap(rows), philox_key(key, unwrap(step_of), x.device())});
  });
}

gt_pair gt_diffusion_reverse_step(gt_tensor out, gt_tensor x, gt_tensor rows, int32_t clip, gt_tensor noise, int32_t draws,
                                  gt_philox_key key, gt_tensor step_of) {
  return guard_both([&] {
    return diffusion_reverse_step({unwrap(out), unwrap(x), unwrap(rows), clip != 0, unwrap(noise), draws != 0,
                                   philox_key(key, unwrap(step_of), unwrap(x).device())});
  });
}
