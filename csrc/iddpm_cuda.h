// The C ABI of libiddpm_cuda.so: what needs a GPU's libraries, kept apart so
// that one program runs with and without them. The rules are iddpm.h's; only
// functions that run once libtorch_cuda.so is loaded are here.
#ifndef IDDPM_CUDA_H_TYPES
#define IDDPM_CUDA_H_TYPES

#include "iddpm.h"

// A c10::cuda::CUDAStream, in the three numbers that name it.
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
  int64_t reserved;  // taken from the driver
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

#ifndef GT_API
#define GT_API_DEFAULT
#ifdef __cplusplus
#define GT_API(ret, name, args) extern "C" __attribute__((visibility("default"))) ret name args;
#else
#define GT_API(ret, name, args) extern ret name args;
#endif
#endif

// The kernels that gt_set_cuda_kernels takes.
GT_API(const void *, gt_cuda_kernels, (void))

GT_API(gt_error, gt_cuda_synchronize, (int32_t device))
GT_API(gt_cuda_properties, gt_cuda_get_properties, (int32_t device))
GT_API(gt_cuda_memory_stats, gt_cuda_memory, (int32_t device))
GT_API(gt_error, gt_cuda_reset_peak_memory, (int32_t device))
GT_API(gt_error, gt_cuda_empty_cache, (void))

// What a profiler that was told to wait (ncu, nsys) collects begins, or ends, here.
GT_API(gt_error, gt_cuda_profiler_start, (void))
GT_API(gt_error, gt_cuda_profiler_stop, (void))

// The current stream is this thread's.
GT_API(gt_error, gt_cuda_stream_new, (int32_t device, gt_stream *out))
GT_API(gt_error, gt_cuda_stream_current, (int32_t device, gt_stream *out))
GT_API(gt_error, gt_cuda_stream_set, (gt_stream s))
GT_API(gt_error, gt_cuda_stream_query, (gt_stream s, int32_t *done))
GT_API(gt_error, gt_cuda_stream_synchronize, (gt_stream s))

// An event is recorded in this thread's current stream. The host sleeps while it waits for
// one, and does not wait for one that was never recorded.
GT_API(gt_error, gt_cuda_event_new, (int32_t device, gt_cuda_event *out))
GT_API(gt_error, gt_cuda_event_record, (gt_cuda_event e))
GT_API(gt_error, gt_cuda_event_synchronize, (gt_cuda_event e))
GT_API(void, gt_cuda_event_free, (gt_cuda_event e))

// From any thread, of the groups of GPUs that this process has joined: whether NCCL has noticed
// that another process is gone, and an end to waiting for it. See gotorch.AbortNCCL.
GT_API(gt_error, gt_nccl_check, (void))
GT_API(gt_error, gt_nccl_abort, (void))

// A recording of what is given to the current stream between begin and end: see
// gotorch.Graph.
GT_API(gt_error, gt_cuda_graph_new, (int32_t device, gt_cuda_graph *out))
GT_API(gt_error, gt_cuda_graph_begin, (gt_cuda_graph g))
GT_API(gt_error, gt_cuda_graph_end, (gt_cuda_graph g))
GT_API(gt_error, gt_cuda_graph_replay, (gt_cuda_graph g))
GT_API(void, gt_cuda_graph_free, (gt_cuda_graph g))

#ifdef GT_API_DEFAULT
#undef GT_API
#undef GT_API_DEFAULT
#endif
