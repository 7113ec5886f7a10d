// Random numbers: libtorch's sequential generators, and counter-based streams.
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include "handle.h"
#include "kernels/philox.h"

using namespace iddpm;

struct gt_generator_ {
  at::Generator generator;
};

gt_error gt_generator_new(gt_device d, uint64_t seed, gt_generator *out) {
  return guard([&] {
    at::Device device = device_of(d);
    at::Generator g = device.is_cpu()
                          ? at::detail::createCPUGenerator(seed)
                          : at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
    g.set_current_seed(seed);
    *out = new gt_generator_{g};
  });
}

void gt_generator_free(gt_generator g) { delete g; }

gt_error gt_uniform_(gt_tensor t, double from, double to, gt_generator g) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    unwrap(t).uniform_(from, to, g->generator);
  });
}

gt_error gt_normal_(gt_tensor t, double mean, double std, gt_generator g) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    unwrap(t).normal_(mean, std, g->generator);
  });
}

gt_result gt_philox_normal(const int64_t *shape, int64_t n, int32_t dtype, gt_device d, gt_philox_key key, gt_tensor step_of) {
  return guard_tensor([&] {
    at::Device device = device_of(d);
    return philox_normal(ints(shape, n), dtype_of(dtype), device, philox_key(key, unwrap(step_of), device));
  });
}

gt_result gt_philox_uniform(const int64_t *shape, int64_t n, int32_t dtype, gt_device d, gt_philox_key key, gt_tensor step_of) {
  return guard_tensor([&] {
    at::Device device = device_of(d);
    return philox_uniform(ints(shape, n), dtype_of(dtype), device, philox_key(key, unwrap(step_of), device));
  });
}

gt_result gt_philox_dropout(gt_tensor x, double p, gt_philox_key key, gt_tensor step_of) {
  return guard_tensor([&] { return philox_dropout(unwrap(x), p, philox_key(key, unwrap(step_of), unwrap(x).device())); });
}
