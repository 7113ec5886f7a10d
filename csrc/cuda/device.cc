// GPUs: properties, memory, streams and events.
#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdio>
#include <memory>

#include "../handle.h"
#include "../iddpm_cuda.h"

// Declared in cuda_profiler_api.h, which comes with the profilers and not with the runtime that exports them.
extern "C" cudaError_t cudaProfilerStart(void);
extern "C" cudaError_t cudaProfilerStop(void);

using namespace iddpm;

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

// Checks a device index; -1 is the current GPU. It also initialises CUDA, without which the
// allocator has no statistics.
c10::DeviceIndex index_of(int32_t device) {
  at::globalContext().lazyInitDevice(at::kCUDA);
  c10::DeviceIndex count = c10::cuda::device_count();
  TORCH_CHECK(device >= -1 && device < count, "there is no GPU ", device, " among ", static_cast<int>(count));
  return device < 0 ? c10::cuda::current_device() : static_cast<c10::DeviceIndex>(device);
}

c10::cuda::CUDAStream stream_of(const gt_stream &s) {
  TORCH_CHECK(s.device_type == static_cast<int32_t>(at::kCUDA), "the stream is not a CUDA stream");
  return c10::cuda::CUDAStream::unpack3(s.id, index_of(s.device_index), at::kCUDA);
}

gt_stream pack(const c10::cuda::CUDAStream &s) {
  c10::StreamData3 d = s.pack3();
  return {d.stream_id, d.device_index, static_cast<int32_t>(d.device_type)};
}

}  // namespace

gt_error gt_cuda_synchronize(int32_t device) {
  return guard([&] {
    c10::cuda::CUDAGuard on(index_of(device));
    c10::cuda::device_synchronize();
  });
}

gt_cuda_properties gt_cuda_get_properties(int32_t device) {
  gt_cuda_properties p{};
  p.error = guard([&] {
    c10::DeviceIndex index = index_of(device);
    c10::cuda::CUDAGuard on(index);
    cudaDeviceProp d{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&d, index));
    snprintf(p.name, sizeof p.name, "%s", d.name);
    p.major = d.major;
    p.minor = d.minor;
    p.multiprocessors = d.multiProcessorCount;
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    p.free_memory = static_cast<int64_t>(free);
    p.total_memory = static_cast<int64_t>(total);
  });
  return p;
}

gt_cuda_memory_stats gt_cuda_memory(int32_t device) {
  gt_cuda_memory_stats m{};
  m.error = guard([&] {
    auto stats = allocator::getDeviceStats(index_of(device));
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    m.allocated = stats.allocated_bytes[all].current;
    m.peak_allocated = stats.allocated_bytes[all].peak;
    m.reserved = stats.reserved_bytes[all].current;
    m.peak_reserved = stats.reserved_bytes[all].peak;
  });
  return m;
}

gt_error gt_cuda_empty_cache(void) {
  return guard([] {
    index_of(-1);
    allocator::emptyCache();
  });
}

gt_error gt_cuda_profiler_start(void) {
  return guard([] { C10_CUDA_CHECK(cudaProfilerStart()); });
}

gt_error gt_cuda_profiler_stop(void) {
  return guard([] { C10_CUDA_CHECK(cudaProfilerStop()); });
}

gt_error gt_cuda_stream_new(int32_t device, gt_stream *out) {
  return guard([&] { *out = pack(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index_of(device))); });
}

gt_error gt_cuda_stream_current(int32_t device, gt_stream *out) {
  return guard([&] { *out = pack(c10::cuda::getCurrentCUDAStream(index_of(device))); });
}

gt_error gt_cuda_stream_set(gt_stream s) {
  return guard([&] { c10::cuda::setCurrentCUDAStream(stream_of(s)); });
}

struct gt_cuda_event_ {
  const c10::DeviceIndex device;
  cudaEvent_t event = nullptr;
};

gt_error gt_cuda_event_new(int32_t device, gt_cuda_event *out) {
  return guard([&] {
    auto e = std::make_unique<gt_cuda_event_>(gt_cuda_event_{index_of(device)});
    c10::cuda::CUDAGuard on(e->device);
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&e->event, cudaEventDisableTiming | cudaEventBlockingSync));
    *out = e.release();
  });
}

gt_error gt_cuda_event_record(gt_cuda_event e) {
  return guard([&] {
    c10::cuda::CUDAGuard on(e->device);
    C10_CUDA_CHECK(cudaEventRecord(e->event, c10::cuda::getCurrentCUDAStream(e->device)));
  });
}

gt_error gt_cuda_event_synchronize(gt_cuda_event e) {
  return guard([&] { C10_CUDA_CHECK(cudaEventSynchronize(e->event)); });
}

void gt_cuda_event_free(gt_cuda_event e) {
  (void)cudaEventDestroy(e->event);
  delete e;
}

// gotorch/loader.c compares this text with its own.
#define GT_API(ret, name, args) #ret " " #name #args ";"
#define GT_STRUCT(name, bytes) #name " " #bytes ";"
extern "C" __attribute__((visibility("default"))) const char gt_cuda_declarations[] =
#include "iddpm_cuda.h"
    ;
#undef GT_API
#undef GT_STRUCT
