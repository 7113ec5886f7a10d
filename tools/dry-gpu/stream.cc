// Streams and events. Submitted work is complete, so waits are only counted, and rejected
// during a capture. A wait for all work so far is reported as "sync"; a wait for an event
// with later work as "wait" with the amount of that work. A wait blocks until the other
// processes have reached NCCL's collectives.
#include <algorithm>

#include "dry.h"

using namespace dry;

namespace {

void merge(std::vector<cudaGraphNode_t> &into, const std::vector<cudaGraphNode_t> &more) {
  for (cudaGraphNode_t n : more) {
    if (std::find(into.begin(), into.end(), n) == into.end()) into.push_back(n);
  }
}

cudaError_t new_event(State &s, cudaEvent_t *out, unsigned flags) {
  *out = new CUevent_st;
  (*out)->timed = (flags & cudaEventDisableTiming) == 0;
  (*out)->device = current_device();
  s.events.insert(*out);
  return cudaSuccess;
}

cudaError_t record(State &s, cudaEvent_t event, cudaStream_t handle) {
  cudaStream_t stream = lookup(s, handle);
  if (stream == nullptr || s.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (event->device != (stream == &s.legacy ? current_device() : stream->device)) {
    violation("an event of one GPU is recorded in a stream of another");
    return cudaErrorInvalidResourceHandle;
  }
  if (cudaError_t e = forbid_implicit(s, "cudaEventRecord", stream)) return e;
  if (stream->capture != nullptr && stream->capture->broken != cudaSuccess) return cudaErrorStreamCaptureInvalidated;
  event->recorded = true;
  event->given = s.given;
  event->collectives = collectives();
  event->capture = stream->capture;
  event->frontier = stream->frontier;
  return cudaSuccess;
}

// A stream that waits for a captured event joins the capture.
cudaError_t wait_captured(State &s, cudaStream_t stream, cudaEvent_t event) {
  const char *api = "cudaStreamWaitEvent";
  Capture &c = *event->capture;
  if (!c.active) {
    violation("a stream waits for an event of a capture that has ended");
    return cudaErrorCapturedEvent;
  }
  if (stream == &s.legacy) return refuse(c, cudaErrorStreamCaptureImplicit, api, "the legacy stream waits for a captured event");
  if (stream->capture != nullptr && stream->capture != event->capture) {
    refuse(*stream->capture, cudaErrorStreamCaptureMerge, api, "it would merge two captures");
    return refuse(c, cudaErrorStreamCaptureMerge, api, "it would merge two captures");
  }
  stream->capture = event->capture;
  merge(stream->frontier, event->frontier);
  return cudaSuccess;
}

cudaError_t wait(State &s, cudaStream_t handle, cudaEvent_t event) {
  cudaStream_t stream = lookup(s, handle);
  if (stream == nullptr || s.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (!event->recorded) return cudaSuccess;
  if (event->capture != nullptr) return wait_captured(s, stream, event);
  if (stream->capture == nullptr) return cudaSuccess;
  return refuse(*stream->capture, cudaErrorStreamCaptureIsolation, "cudaStreamWaitEvent", "a captured stream waits for other work");
}

cudaError_t ask_event(State &s, const char *api, cudaEvent_t event) {
  if (s.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (event->capture != nullptr) {
    return refuse(*event->capture, cudaErrorCapturedEvent, api, "the event was recorded in a captured stream");
  }
  return forbid_unsafe(s, api);
}

cudaError_t ask_stream(State &s, const char *api, cudaStream_t handle) {
  cudaStream_t stream = lookup(s, handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    return refuse(*stream->capture, cudaErrorStreamCaptureUnsupported, api, "the stream is captured");
  }
  if (cudaError_t e = forbid_implicit(s, api, stream)) return e;
  return forbid_unsafe(s, api);
}

}  // namespace

DRY_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int) {
  return call([&](State &s) {
    *out = new CUstream_st;
    (*out)->blocking = (flags & cudaStreamNonBlocking) == 0;
    (*out)->device = current_device();
    s.streams.insert(*out);
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&](State &s) {
    if (s.streams.erase(stream) == 0) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) violation("a stream that is captured is destroyed");
    delete stream;
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  wait_for_collectives(collectives());
  return call([&](State &s) {
    report("eager", "sync", "cudaStreamSynchronize");
    return ask_stream(s, "cudaStreamSynchronize", stream);
  });
}

DRY_API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call([&](State &s) {
    if (cudaError_t e = ask_stream(s, "cudaStreamQuery", stream)) return e;
    return collectives_done(collectives()) ? cudaSuccess : cudaErrorNotReady;
  });
}

DRY_API cudaError_t cudaDeviceSynchronize() {
  wait_for_collectives(collectives());
  return call([&](State &s) {
    report("eager", "sync", "cudaDeviceSynchronize");
    return forbid_any(s, "cudaDeviceSynchronize");
  });
}

DRY_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call([&](State &s) { return wait(s, stream, event); });
}

DRY_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  return call([&](State &s) { return new_event(s, event, flags); });
}

DRY_API cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

DRY_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&](State &s) {
    if (s.events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&](State &s) { return record(s, event, stream); });
}

DRY_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  if (flags != 0) unknown("cudaEventRecordWithFlags of an external event");
  return cudaEventRecord(event, stream);
}

DRY_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](State &s) {
    if (cudaError_t e = ask_event(s, "cudaEventQuery", event)) return e;
    return !event->recorded || collectives_done(event->collectives) ? cudaSuccess : cudaErrorNotReady;
  });
}

DRY_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  uint64_t collectives = 0;
  cudaError_t error = call([&](State &s) {
    cudaError_t e = ask_event(s, "cudaEventSynchronize", event);
    if (e != cudaSuccess || !event->recorded) return e;
    uint64_t since = s.given - event->given;
    report("eager", since == 0 ? "sync" : "wait", "cudaEventSynchronize", since);
    collectives = event->collectives;
    return cudaSuccess;
  });
  wait_for_collectives(collectives);
  return error;
}

DRY_API cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t first, cudaEvent_t last) {
  return call([&](State &s) {
    if (s.events.count(first) == 0 || s.events.count(last) == 0) return cudaErrorInvalidResourceHandle;
    if (!first->timed || !last->timed || !first->recorded || !last->recorded) return cudaErrorInvalidResourceHandle;
    *milliseconds = 1;
    return cudaSuccess;
  });
}
