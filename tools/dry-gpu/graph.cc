// Stream captures and graphs.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "dry.h"

using namespace dry;

namespace {

cudaStreamCaptureMode &thread_mode() {
  static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

std::set<cudaGraphNode_t> reached_from(std::vector<cudaGraphNode_t> left) {
  std::set<cudaGraphNode_t> reached;
  while (!left.empty()) {
    cudaGraphNode_t n = left.back();
    left.pop_back();
    if (reached.insert(n).second) left.insert(left.end(), n->after.begin(), n->after.end());
  }
  return reached;
}

void leave(CUstream_st &stream, const Capture *c) {
  if (stream.capture.get() != c) return;
  stream.capture = nullptr;
  stream.frontier.clear();
}

// Streams that forked from the origin must have joined it.
cudaError_t check_joined(Capture &c) {
  if (reached_from(c.origin->frontier).size() == c.graph->nodes.size()) return cudaSuccess;
  return refuse(c, cudaErrorStreamCaptureUnjoined, "cudaStreamEndCapture", "a stream that forked was not joined");
}

cudaError_t check_end(Capture &c, cudaStream_t stream) {
  if (c.origin != stream) {
    return refuse(c, cudaErrorStreamCaptureUnmatched, "cudaStreamEndCapture", "the capture began in another stream");
  }
  if (c.mode != cudaStreamCaptureModeRelaxed && c.thread != std::this_thread::get_id()) {
    return refuse(c, cudaErrorStreamCaptureWrongThread, "cudaStreamEndCapture", "the capture began in another thread");
  }
  return c.broken != cudaSuccess ? cudaErrorStreamCaptureInvalidated : check_joined(c);
}

cudaError_t end(State &s, cudaStream_t stream, cudaGraph_t *out) {
  *out = nullptr;
  if (s.streams.count(stream) == 0 || stream->capture == nullptr) return cudaErrorIllegalState;
  std::shared_ptr<Capture> c = stream->capture;
  cudaError_t e = check_end(*c, stream);
  if (e == cudaErrorStreamCaptureUnmatched || e == cudaErrorStreamCaptureWrongThread) return e;
  c->active = false;
  s.captures.erase(std::find(s.captures.begin(), s.captures.end(), c));
  for (cudaStream_t each : s.streams) leave(*each, c.get());
  leave(s.per_thread, c.get());
  report("eager", "capture", e == cudaSuccess ? "ended" : "invalidated", c->graph->nodes.size());
  if (e == cudaSuccess) *out = c->graph.release();
  return e;
}

cudaError_t begin(State &s, cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (s.streams.count(stream) == 0) {
    violation("cudaStreamBeginCapture of the default stream");
    return cudaErrorStreamCaptureUnsupported;
  }
  if (stream->capture != nullptr) return cudaErrorIllegalState;
  auto c = std::make_shared<Capture>();
  c->id = ++s.ids;
  c->origin = stream;
  c->thread = std::this_thread::get_id();
  c->mode = mode;
  stream->capture = c;
  s.captures.push_back(c);
  report("eager", "capture", "begun");
  return cudaSuccess;
}

cudaStreamCaptureStatus status_of(const CUstream_st &stream) {
  if (stream.capture == nullptr) return cudaStreamCaptureStatusNone;
  return stream.capture->broken == cudaSuccess ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusInvalidated;
}

// DRY_GPU_DIES=N kills the process when it launches its Nth graph.
void end_process_at_launch() {
  static const char *last = getenv("DRY_GPU_DIES");
  static int launches = 0;
  if (last != nullptr && ++launches == atoi(last)) kill(getpid(), SIGKILL);
}

cudaError_t launch(State &s, cudaGraphExec_t exec, cudaStream_t handle) {
  cudaStream_t stream = lookup(s, handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    unknown("cudaGraphLaunch in a capture");
    return cudaErrorNotSupported;
  }
  if (cudaError_t e = forbid_implicit(s, "cudaGraphLaunch", stream)) return e;
  end_process_at_launch();
  ++s.given;
  report("eager", "replay", "cudaGraphLaunch", exec->works.size());
  for (const Work &w : exec->works) perform(s, "graph", w);
  return cudaSuccess;
}

}  // namespace

DRY_API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
  std::swap(*mode, thread_mode());
  return cudaSuccess;
}

DRY_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&](State &s) { return begin(s, stream, mode); });
}

DRY_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  return call([&](State &s) { return end(s, stream, graph); });
}

DRY_API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status) {
  return call([&](State &s) {
    cudaStream_t stream = lookup(s, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (cudaError_t e = forbid_implicit(s, "cudaStreamIsCapturing", stream)) return e;
    *status = status_of(*stream);
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus *status, unsigned long long *id,
                                             cudaGraph_t *graph, const cudaGraphNode_t **after,
                                             const cudaGraphEdgeData **edges, size_t *count) {
  return call([&](State &s) {
    cudaStream_t stream = lookup(s, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = status_of(*stream);
    if (stream->capture == nullptr) return cudaSuccess;
    if (id != nullptr) *id = stream->capture->id;
    if (graph != nullptr) *graph = stream->capture->graph.get();
    if (after != nullptr) *after = stream->frontier.data();
    if (edges != nullptr) *edges = nullptr;
    if (count != nullptr) *count = stream->frontier.size();
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
  return call([&](State &) {
    if (nodes == nullptr) *count = graph->nodes.size();
    for (size_t i = 0; nodes != nullptr && i < std::min(*count, graph->nodes.size()); ++i) nodes[i] = &graph->nodes[i];
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  return call([&](State &) {
    *exec = new CUgraphExec_st;
    for (const CUgraphNode_st &n : graph->nodes) (*exec)->works.push_back(n.work);
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([&](State &s) { return launch(s, exec, stream); });
}

DRY_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

DRY_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
