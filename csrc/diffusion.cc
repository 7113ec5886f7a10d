// The diffusion's arithmetic.
#include "kernels/diffusion.h"

#include "handle.h"

using namespace iddpm;

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
