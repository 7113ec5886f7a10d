// Losses and steps of the diffusion process.
#include "handle.h"
#include "kernels/diffusion_steps.h"

using namespace iddpm;

gt_pair gt_diffusion_losses(gt_tensor out, gt_tensor target, gt_tensor x_start, gt_tensor rows, int32_t bound, int32_t through) {
  return guard_pair([&] {
    std::vector<at::Tensor> losses =
        diffusion_losses({unwrap(out), unwrap(target), unwrap(x_start), unwrap(rows), bound != 0, through != 0});
    return std::make_pair(losses[0], bound != 0 ? losses[1] : at::Tensor());
  });
}

gt_pair gt_diffusion_q_sample(gt_tensor x_start, gt_tensor rows, gt_philox_key key, gt_tensor step_of) {
  return guard_pair([&] {
    const at::Tensor &x = unwrap(x_start);
    return diffusion_q_sample({x, unwrap(rows), philox_key(key, unwrap(step_of), x.device())});
  });
}

gt_pair gt_diffusion_reverse_step(gt_tensor out, gt_tensor x, gt_tensor rows, int32_t clip, gt_tensor noise) {
  return guard_pair([&] {
    return diffusion_reverse_step({unwrap(out), unwrap(x), unwrap(rows), clip != 0, unwrap(noise)});
  });
}
