// Process-wide settings, devices and their modes.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/GradMode.h>
#include <torch/headeronly/version.h>

#include "allocator.h"
#include "handle.h"

using namespace iddpm;

const char *gt_torch_version(void) { return TORCH_VERSION; }

const char *gt_cpu_capability(void) {
  static const std::string *s = new std::string(at::get_cpu_capability());
  return s->c_str();
}

// Whether the processor has bfloat16 instructions, with which oneDNN is faster than in
// float32.
int32_t gt_cpu_has_bf16(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return 0;
#endif
}

namespace {

bool tf32(at::Float32Op op) {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, op) == at::Float32Precision::TF32;
}

}  // namespace

gt_error gt_get_settings(gt_settings *out) {
  return guard([&] {
    const at::Context &c = at::globalContext();
    *out = {at::get_num_threads(), c.deterministicAlgorithms(), c.benchmarkCuDNN(), tf32(at::Float32Op::MATMUL),
            tf32(at::Float32Op::CONV), !cpu_cache_enabled()};
  });
}

gt_error gt_set_settings(gt_settings s) {
  return guard([&] {
    at::Context &c = at::globalContext();
    TORCH_CHECK(s.threads > 0, "an operator needs at least one thread, not ", s.threads);
    at::set_num_threads(s.threads);
    c.setDeterministicAlgorithms(s.deterministic != 0, /*warn_only=*/false);
    c.setDeterministicCuDNN(s.deterministic != 0);
    // By default deterministic mode fills every new tensor with NaN, although all are written
    // before they are read.
    c.setDeterministicFillUninitializedMemory(false);
    c.setBenchmarkCuDNN(s.benchmark_cudnn != 0);
    // libtorch warns at the first call, which a process without a GPU need not make.
    if (tf32(at::Float32Op::MATMUL) != (s.tf32_matmul != 0)) c.setAllowTF32CuBLAS(s.tf32_matmul != 0);
    if (tf32(at::Float32Op::CONV) != (s.tf32_conv != 0)) c.setAllowTF32CuDNN(s.tf32_conv != 0);
    enable_cpu_cache(s.no_cpu_cache == 0);
  });
}

int32_t gt_set_grad_mode(int32_t on) {
  bool previous = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(on != 0);
  return previous;
}

int32_t gt_grad_mode(void) { return c10::GradMode::is_enabled(); }

int32_t gt_cuda_available(void) {
  try {
    return at::hasCUDA();
  } catch (...) {
    return 0;
  }
}

int32_t gt_cuda_device_count(void) {
  try {
    return at::hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().deviceCount()) : 0;
  } catch (...) {
    return 0;
  }
}
