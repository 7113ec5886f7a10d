// The C ABI of libiddpm_cuda.so: functions that need CUDA's libraries, in a library
// of their own so that the program runs without CUDA, too. The rules are those of
// iddpm.h. These functions may be called only after libtorch_cuda.so is loaded.
#ifndef IDDPM_CUDA_H_TYPES
#define IDDPM_CUDA_H_TYPES

#include "iddpm.h"

// A c10::cuda::CUDAStream, in the form of c10::Stream::pack3.
typedef struct gt_stream {
  int64_t id;
  int32_t device_index;
  int32_t device_type;
} gt_stream;

typedef struct gt_cuda_graph_ *gt_cuda_graph;
typedef struct gt_cuda_event_ *gt_cuda_event;

// Bytes of the caching allocator on one GPU.
typedef struct gt_cuda_memory_stats {
  int64_t allocated;  // in tensors
  int64_t peak_allocated;
  int64_t reserved;  // allocated from the driver, cache included
  int64_t peak_reserved;
  gt_error error;
} gt_cuda_memory_stats;

typedef struct gt_cuda_properties {
  char name[256];
  int32_t major;  // compute capability
  int32_t minor;
  int32_t multiprocessors;
  int64_t total_memory;  // bytes
  int64_t free_memory;
  gt_error error;
} gt_cuda_properties;

#endif  // IDDPM_CUDA_H_TYPES

#ifndef GT_STRUCT
#define GT_STRUCT_DEFAULT
#ifdef __cplusplus
#define GT_STRUCT(name, bytes) static_assert(sizeof(name) == bytes, "the size of " #name);
#else
#define GT_STRUCT(name, bytes) _Static_assert(sizeof(name) == bytes, "the size of " #name);
#endif
#endif

GT_STRUCT(gt_stream, 16)
GT_STRUCT(gt_cuda_memory_stats, 40)
GT_STRUCT(gt_cuda_properties, 296)

#ifdef GT_STRUCT_DEFAULT
#undef GT_STRUCT
#undef GT_STRUCT_DEFAULT
#endif

#ifndef GT_API
#define GT_API_DEFAULT
#ifdef __cplusplus
#define GT_API(ret, name, args) extern "C" __attribute__((visibility("default"))) ret name args;
#else
#define GT_API(ret, name, args) extern ret name args;
#endif
#endif

// The argument of gt_set_cuda_kernels.
GT_API(const void *, gt_cuda_kernels, (void))

GT_API(gt_error, gt_cuda_synchronize, (int32_t device))
GT_API(gt_cuda_properties, gt_cuda_get_properties, (int32_t device))
GT_API(gt_cuda_memory_stats, gt_cuda_memory, (int32_t device))
GT_API(gt_error, gt_cuda_empty_cache, (void))

// Start and stop collection by a profiler (ncu, nsys) that was started with it off.
GT_API(gt_error, gt_cuda_profiler_start, (void))
GT_API(gt_error, gt_cuda_profiler_stop, (void))

// The current stream belongs to the calling thread.
GT_API(gt_error, gt_cuda_stream_new, (int32_t device, gt_stream *out))
GT_API(gt_error, gt_cuda_stream_current, (int32_t device, gt_stream *out))
GT_API(gt_error, gt_cuda_stream_set, (gt_stream s))

// An event is recorded in this thread's current stream. The host sleeps while it waits for
// an event, and returns at once for one that was never recorded.
GT_API(gt_error, gt_cuda_event_new, (int32_t device, gt_cuda_event *out))
GT_API(gt_error, gt_cuda_event_record, (gt_cuda_event e))
GT_API(gt_error, gt_cuda_event_synchronize, (gt_cuda_event e))
GT_API(void, gt_cuda_event_free, (gt_cuda_event e))

// May be called from any thread, for all NCCL communicators of this process: check returns an
// error if NCCL has detected that another process has exited; abort ends all collectives. See
// gotorch.AbortNCCL.
GT_API(gt_error, gt_nccl_check, (void))
GT_API(gt_error, gt_nccl_abort, (void))

// A graph captured from the current stream between begin and end: see gotorch.Graph.
GT_API(gt_error, gt_cuda_graph_new, (int32_t device, gt_cuda_graph *out))
GT_API(gt_error, gt_cuda_graph_begin, (gt_cuda_graph g))
GT_API(gt_error, gt_cuda_graph_end, (gt_cuda_graph g))
GT_API(gt_error, gt_cuda_graph_replay, (gt_cuda_graph g))
GT_API(void, gt_cuda_graph_free, (gt_cuda_graph g))

#ifdef GT_API_DEFAULT
#undef GT_API
#undef GT_API_DEFAULT
#endif
