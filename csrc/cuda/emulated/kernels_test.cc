// Compares the CUDA kernels, run on the CPU, with their twins.
#include <cstdio>

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

// Every element within `tolerance` of want's largest, at least of 1.
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

void test_philox() {
  const std::vector<std::vector<int64_t>> shapes{{}, {3}, {1, 1}, {5, 7}, {2, 3, 5, 7}, {3, 64, 16, 16}, {1, 2, 1, 1}};
  for (const auto &shape : shapes) {
    gt_philox_key key{0x123456789abcdefull, 17, 5, (int64_t{1} << 33) + 2};
    at::Tensor want = iddpm::philox_normal(shape, at::kFloat, at::kCPU, key), got = at::full_like(want, 99);
    iddpm::cuda::philox_normal(got, key);
    near(name("normal", shape, at::kFloat), got, want, 1e-6);
    want = iddpm::philox_uniform(shape, at::kFloat, at::kCPU, key);
    iddpm::cuda::philox_uniform(got, key);
    check(got.equal(want), name("uniform", shape, at::kFloat), (got - want).abs().max().item<double>());
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      at::Tensor ones = at::ones_like(got, at::TensorOptions(dtype), at::MemoryFormat::Preserve);
      at::Tensor dropped = iddpm::philox_dropout(ones, 0.3, key), mask = at::full_like(ones, 99);
      iddpm::cuda::philox_mask(mask, 0.3, key);
      check(mask.equal(dropped), name("dropout mask", shape, dtype), (mask - dropped).abs().max().item<double>());
    }
  }
}

}  // namespace

int main() {
  test_philox();
  printf("CUDA kernels on the CPU: %d comparisons, %d passed, %d failed\n", comparisons, comparisons - failures, failures);
  return failures != 0;
}
