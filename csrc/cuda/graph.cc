// CUDA graphs.
#include <ATen/cuda/CUDAGraph.h>

#include "../handle.h"
#include "../iddpm_cuda.h"

using namespace iddpm;

struct gt_cuda_graph_ {
  at::cuda::CUDAGraph graph;
};

gt_error gt_cuda_graph_new(gt_cuda_graph *out) {
  return guard([&] { *out = new gt_cuda_graph_(); });
}

// Only this thread and the one that works out gradients are to leave the stream
// alone: others may copy a checkpoint meanwhile.
gt_error gt_cuda_graph_begin(gt_cuda_graph g) {
  return guard([&] { g->graph.capture_begin(/*pool=*/{0, 0}, cudaStreamCaptureModeThreadLocal); });
}

gt_error gt_cuda_graph_end(gt_cuda_graph g) {
  return guard([&] { g->graph.capture_end(); });
}

gt_error gt_cuda_graph_replay(gt_cuda_graph g) {
  return guard([&] { g->graph.replay(); });
}

void gt_cuda_graph_free(gt_cuda_graph g) { delete g; }
