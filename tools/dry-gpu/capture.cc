// Copies and other work on streams, and what is not permitted during a capture.
#include <cstring>

#include "dry.h"

namespace dry {
namespace {

const char *direction_of(Place src, Place dst) {
  bool from = src == Place::kDevice, to = dst == Place::kDevice;
  return from ? (to ? "device to device" : "device to host") : (to ? "host to device" : "host to host");
}

Place place_of(State &s, const void *p) {
  const Allocation *a = find(s, p);
  return a == nullptr ? Place::kPageable : a->place;
}

// A graph reads and writes host memory at every launch, so the memory must be pinned and
// must not be freed.
void check_captured_copy(State &s, Work &w) {
  for (const void *p : {static_cast<const void *>(w.dst), w.src}) {
    const Allocation *a = find(s, p);
    if (a == nullptr) violation("a copy between the device and pageable memory is captured");
    if (a != nullptr && a->place == Place::kPinned) w.host = a->id;
  }
  if (place_of(s, w.src) != Place::kDevice) w.was.assign(static_cast<const char *>(w.src), w.bytes);
}

bool has_allocation(State &s, uint64_t id) {
  for (const auto &[address, a] : s.memory) {
    if (a.id == id) return true;
  }
  return false;
}

// Device memory that a copy has written can be read back as a whole, so that weights
// survive. All other device memory is a kernel's output and reads as zero, so that runs
// are deterministic.
void copy(State &s, const Work &w) {
  bool from = place_of(s, w.src) == Place::kDevice, to = place_of(s, w.dst) == Place::kDevice;
  auto at = s.written.find(w.src);
  bool known = !from || (at != s.written.end() && at->second == w.bytes);
  if (known) memmove(reachable(s, w.dst), reachable(s, w.src), w.bytes);
  if (!known && !to) memset(w.dst, 0, w.bytes);
  if (to && known) s.written[w.dst] = w.bytes;
  if (to && !known) s.written.erase(w.dst);
}

bool alive(State &s, const Work &w) {
  if (w.host != 0 && !has_allocation(s, w.host)) {
    violation("a graph copies from or to pinned memory that was freed");
    return false;
  }
  // The host has rewritten the input, or libtorch has reused the memory.
  if (!w.was.empty() && memcmp(w.was.data(), w.src, w.bytes) != 0) report("graph", "changed", w.what, w.bytes);
  return true;
}

}  // namespace

cudaStream_t lookup(State &s, cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &s.legacy;
  if (handle == cudaStreamPerThread) return &s.per_thread;
  if (s.streams.count(handle) != 0) return handle;
  violation("a stream is used that does not exist");
  return nullptr;
}

cudaError_t refuse(Capture &c, cudaError_t error, const char *api, const std::string &why) {
  violation(std::string(api) + ": " + why);
  if (c.broken == cudaSuccess) c.broken = error;
  return error;
}

cudaError_t forbid_unsafe(State &s, const char *api) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  cudaStreamCaptureMode mine = mode;
  cudaThreadExchangeStreamCaptureMode(&mode);
  if (mine == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (auto &c : s.captures) {
    bool own = c->thread == std::this_thread::get_id() && c->mode != cudaStreamCaptureModeRelaxed;
    bool global = mine == cudaStreamCaptureModeGlobal && c->mode == cudaStreamCaptureModeGlobal;
    if (own || global) return refuse(*c, cudaErrorStreamCaptureUnsupported, api, "not permitted while a stream is captured");
  }
  return cudaSuccess;
}

cudaError_t forbid_any(State &s, const char *api) {
  if (s.captures.empty()) return cudaSuccess;
  return refuse(*s.captures[0], cudaErrorStreamCaptureUnsupported, api, "it waits for a stream that is captured");
}

cudaError_t forbid_implicit(State &s, const char *api, cudaStream_t stream) {
  if (stream != &s.legacy) return cudaSuccess;
  for (cudaStream_t other : s.streams) {
    if (other->blocking && other->capture != nullptr) {
      return refuse(*other->capture, cudaErrorStreamCaptureImplicit, api, "the legacy stream waits for one that is captured");
    }
  }
  return cudaSuccess;
}

void perform(State &s, const char *how, const Work &w) {
  switch (w.kind) {
    case Work::kLaunch: report(how, "launch", w.what); return;
    case Work::kCollective:
      report(how, "launch", w.what);
      perform_collective();
      return;
    case Work::kCopy:
      report(how, "copy", w.what, w.bytes);
      if (alive(s, w)) copy(s, w);
      return;
    case Work::kSet:
      report(how, "set", w.what, w.bytes);
      memset(reachable(s, w.dst), w.value, w.bytes);
      s.written[w.dst] = w.bytes;
      return;
  }
}

cudaError_t submit(State &s, const char *api, cudaStream_t handle, Work work) {
  cudaStream_t stream = lookup(s, handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (cudaError_t e = forbid_implicit(s, api, stream)) return e;
  if (stream->capture == nullptr) {
    ++s.given;
    if (stream == &s.legacy) report("eager", "default stream", work.what);
    perform(s, "eager", work);
    return cudaSuccess;
  }
  Capture &c = *stream->capture;
  if (c.broken != cudaSuccess) return cudaErrorStreamCaptureInvalidated;
  if (work.kind == Work::kCopy) check_captured_copy(s, work);
  const char *kind = work.kind == Work::kCopy ? "copy" : work.kind == Work::kSet ? "set" : "launch";
  report("captured", kind, work.what, work.bytes);
  c.graph->nodes.push_back({std::move(work), std::move(stream->frontier)});
  stream->frontier = {&c.graph->nodes.back()};
  return cudaSuccess;
}

cudaError_t submit_call(const char *name, cudaStream_t stream) {
  return call([&](State &s) { return submit(s, name, stream, {Work::kLaunch, name}); });
}

}  // namespace dry

using namespace dry;

namespace {

// A copy's name in the report: its direction, and whether the host memory is pinned.
std::string name_copy(State &s, const void *dst, const void *src, const char *how) {
  Place from = place_of(s, src), to = place_of(s, dst);
  bool pageable = from == Place::kPageable || to == Place::kPageable;
  bool host = from != Place::kDevice || to != Place::kDevice;
  return std::string(direction_of(from, to)) + (!host ? "" : pageable ? ", pageable" : ", pinned") + how;
}

cudaError_t check_kind(State &s, const void *dst, const void *src, cudaMemcpyKind kind) {
  bool from = place_of(s, src) == Place::kDevice, to = place_of(s, dst) == Place::kDevice;
  bool says_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  bool says_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault || (from == says_from && to == says_to)) return cudaSuccess;
  violation("a copy's direction is not that of its pointers");
  return cudaErrorInvalidValue;
}

cudaError_t set(State &s, const char *api, void *dst, int value, size_t bytes, cudaStream_t stream) {
  if (place_of(s, dst) != Place::kDevice) {
    violation(std::string(api) + " of memory that is not the device's");
    return cudaErrorInvalidValue;
  }
  return submit(s, api, stream, {Work::kSet, api, dst, nullptr, bytes, value});
}

// A synchronous copy uses the legacy stream.
cudaError_t copy_now(State &s, const char *api, void *dst, const void *src, size_t bytes, cudaMemcpyKind kind) {
  if (cudaError_t e = forbid_unsafe(s, api)) return e;
  if (cudaError_t e = check_kind(s, dst, src, kind)) return e;
  if (kind != cudaMemcpyDeviceToDevice) report("eager", "sync", api);
  return submit(s, api, nullptr, {Work::kCopy, name_copy(s, dst, src, ", and wait"), dst, src, bytes});
}

}  // namespace

DRY_API cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind) {
  wait_for_collectives(collectives());
  return call([&](State &s) { return copy_now(s, "cudaMemcpy", dst, src, bytes, kind); });
}

DRY_API cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](State &s) {
    if (cudaError_t e = check_kind(s, dst, src, kind)) return e;
    return submit(s, "cudaMemcpyAsync", stream, {Work::kCopy, name_copy(s, dst, src, ""), dst, src, bytes});
  });
}

DRY_API cudaError_t cudaMemset(void *dst, int value, size_t bytes) {
  return call([&](State &s) { return set(s, "cudaMemset", dst, value, bytes, nullptr); });
}

DRY_API cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t stream) {
  return call([&](State &s) { return set(s, "cudaMemsetAsync", dst, value, bytes, stream); });
}
