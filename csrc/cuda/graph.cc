// CUDA graphs.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include "../handle.h"
#include "../iddpm_cuda.h"

using namespace iddpm;

// libtorch's graph on one GPU, with the clean-up that libtorch omits after a failed capture.
struct gt_cuda_graph_ : at::cuda::CUDAGraph {
  explicit gt_cuda_graph_(c10::DeviceIndex device) : device(device) {}

  const c10::DeviceIndex device;  // libtorch always uses the current GPU

  // Ends a failed capture in the allocators. Their errors about a capture that they do not
  // know are ignored.
  void abandon() {
    auto quietly = [](auto f) {
      try {
        f();
      } catch (const std::exception &) {
      }
    };
    quietly([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(capture_dev_, mempool_id_); });
    quietly([&] { c10::cuda::CUDACachingAllocator::releasePool(capture_dev_, mempool_id_); });
    auto *host = at::getHostAllocator(at::kCUDA);
    quietly([&] { host->end_allocate_to_pool(mempool_id_); });
    quietly([&] { host->release_pool(mempool_id_); });
    quietly([] {  // any completed capture ends the generator's capture state
      at::cuda::CUDAGraph empty;
      empty.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      at::empty({1}, at::kCUDA).zero_();
      empty.capture_end();
    });
  }

  template <class F>
  gt_error attempt(F f) {
    return guard([&] {
      c10::cuda::CUDAGuard current(device);
      try {
        f();
      } catch (...) {
        if (!capture_ended_) abandon();
        throw;
      }
    });
  }
};

gt_error gt_cuda_graph_new(int32_t device, gt_cuda_graph *out) {
  return guard([&] {
    auto index = static_cast<c10::DeviceIndex>(device);
    c10::cuda::CUDAGuard current(index);
    *out = new gt_cuda_graph_(index);
  });
}

// The mode restricts only this thread and autograd's: others may copy a checkpoint
// meanwhile.
gt_error gt_cuda_graph_begin(gt_cuda_graph g) {
  return g->attempt([&] { g->capture_begin(/*pool=*/{0, 0}, cudaStreamCaptureModeThreadLocal); });
}

gt_error gt_cuda_graph_end(gt_cuda_graph g) {
  return g->attempt([&] { g->capture_end(); });
}

gt_error gt_cuda_graph_replay(gt_cuda_graph g) {
  return guard([&] { g->replay(); });
}

void gt_cuda_graph_free(gt_cuda_graph g) { delete g; }
