// Threads, devices and their modes.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/GradMode.h>
#include <torch/headeronly/version.h>

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

gt_error gt_set_num_threads(int32_t n) {
  return guard([&] { at::set_num_threads(n); });
}

int32_t gt_get_num_threads(void) { return at::get_num_threads(); }

gt_error gt_set_deterministic(int32_t on) {
  return guard([&] {
    at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(on != 0);
    // By default deterministic mode fills every new tensor with NaN, although all are written
    // before they are read.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

gt_error gt_set_allow_tf32(int32_t on) {
  return guard([&] {
    at::globalContext().setAllowTF32CuBLAS(on != 0);
    at::globalContext().setAllowTF32CuDNN(on != 0);
  });
}

gt_error gt_set_benchmark_cudnn(int32_t on) {
  return guard([&] { at::globalContext().setBenchmarkCuDNN(on != 0); });
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

int32_t gt_cudnn_available(void) {
  try {
    return at::hasCUDA() && at::globalContext().hasCuDNN();
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
