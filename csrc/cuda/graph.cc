// CUDA graphs.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>

#include "../handle.h"
#include "../iddpm_cuda.h"

using namespace iddpm;

// libtorch's graph, and what it leaves undone where a recording fails.
struct gt_cuda_graph_ : at::cuda::CUDAGraph {
  // Lets the allocators forget a recording that neither ended nor will be replayed.
  // What they say of one that they know nothing of is of no interest.
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
  }

  template <class F>
  gt_error attempt(F f) {
    return guard([&] {
      try {
        f();
      } catch (...) {
        if (!capture_ended_) abandon();
        throw;
      }
    });
  }
};

gt_error gt_cuda_graph_new(gt_cuda_graph *out) {
  return guard([&] { *out = new gt_cuda_graph_(); });
}

// Only this thread and the one that works out gradients are to leave the stream
// alone: others may copy a checkpoint meanwhile.
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
