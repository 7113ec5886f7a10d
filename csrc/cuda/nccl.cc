// NCCL collectives. All run on this thread's current stream, except all-reduces, which run
// on a side stream. All of them can be captured in a graph.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <dlfcn.h>
#include <nccl.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>

#include "../handle.h"
#include "../iddpm_cuda.h"
#include "kernels.h"

namespace iddpm {

struct NcclGroup {
  explicit NcclGroup(c10::DeviceIndex device) : device(device), side(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device)) {
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming));
  }
  ~NcclGroup() { (void)cudaEventDestroy(reached); }

  // Makes later work on `to` wait for all current work on `from`. The default stream is that
  // of the current GPU.
  void order(cudaStream_t from, cudaStream_t to) const {
    c10::cuda::CUDAGuard on(device);
    C10_CUDA_CHECK(cudaEventRecord(reached, from));
    C10_CUDA_CHECK(cudaStreamWaitEvent(to, reached, 0));
  }

  const c10::DeviceIndex device;
  const c10::cuda::CUDAStream side;  // for all-reduces
  bool sums = false;                 // whether an all-reduce has not been waited for
  cudaEvent_t reached = nullptr;
  ncclComm_t comm = nullptr;
  std::atomic<bool> aborted{false};  // possibly by another thread: comm is freed
};

namespace cuda {
namespace {

// The library is loaded at first use: a single GPU does not need it.
struct Library {
#define NCCL_FUNCTION(name) decltype(&nccl##name) name = reinterpret_cast<decltype(&nccl##name)>(find("nccl" #name));
  void *const handle = dlopen("libnccl.so.2", RTLD_NOW);
  NCCL_FUNCTION(GetUniqueId)
  NCCL_FUNCTION(CommInitRank)
  NCCL_FUNCTION(CommDestroy)
  NCCL_FUNCTION(CommAbort)
  NCCL_FUNCTION(CommGetAsyncError)
  NCCL_FUNCTION(AllReduce)
  NCCL_FUNCTION(Broadcast)
  NCCL_FUNCTION(AllGather)
  NCCL_FUNCTION(GroupStart)
  NCCL_FUNCTION(GroupEnd)
  NCCL_FUNCTION(GetErrorString)
  NCCL_FUNCTION(GetLastError)
#undef NCCL_FUNCTION

  void *find(const char *name) {
    TORCH_CHECK(handle != nullptr, "several GPUs need NCCL, but libnccl.so.2 cannot be loaded");
    void *f = dlsym(handle, name);
    TORCH_CHECK(f != nullptr, "libnccl.so.2 has no ", name);
    return f;
  }
};

const Library &nccl() {
  static const Library library;
  return library;
}

void check(ncclResult_t r, ncclComm_t comm = nullptr) {
  TORCH_CHECK(r == ncclSuccess, "NCCL: ", nccl().GetErrorString(r), ": ", nccl().GetLastError(comm));
}

ncclDataType_t type_of(const at::Tensor &t) {
  switch (t.scalar_type()) {
    case at::kByte: return ncclUint8;
    case at::kInt: return ncclInt32;
    case at::kLong: return ncclInt64;
    case at::kHalf: return ncclFloat16;
    case at::kBFloat16: return ncclBfloat16;
    case at::kFloat: return ncclFloat32;
    case at::kDouble: return ncclFloat64;
    default: TORCH_CHECK(false, "NCCL does not support ", t.scalar_type());
  }
}

// NCCL sends raw memory, so all processes must have the same layouts.
void require(const NcclGroup &g, const at::Tensor &t) {
  TORCH_CHECK(!g.aborted, "the group was aborted");
  TORCH_CHECK(t.defined() && t.is_cuda() && t.get_device() == g.device, "the group needs tensors on GPU ",
              static_cast<int>(g.device));
  TORCH_CHECK(t.is_non_overlapping_and_dense(), "NCCL needs tensors without gaps in memory");
}

// The groups that this process has joined and not freed.
struct Joined {
  std::mutex mutex;
  std::set<NcclGroup *> groups;
};

Joined &joined() {
  static auto &j = *new Joined;
  return j;
}

void check_peers(NcclGroup *g) {
  if (g->aborted) return;
  ncclResult_t error = ncclSuccess;
  check(nccl().CommGetAsyncError(g->comm, &error), g->comm);
  if (error != ncclInProgress) check(error, g->comm);
}

// Running NCCL kernels end; their results are undefined.
void abort(NcclGroup *g) {
  if (!g->aborted.exchange(true)) check(nccl().CommAbort(g->comm));
}

// Submits all tensors in one NCCL group call.
template <class F>
void at_once(const NcclGroup &g, const std::vector<at::Tensor> &list, cudaStream_t stream, F &&call) {
  for (const at::Tensor &t : list) require(g, t);
  c10::cuda::CUDAGuard on(g.device);
  check(nccl().GroupStart(), g.comm);
  ncclResult_t refused = ncclSuccess;
  for (const at::Tensor &t : list) {
    if (refused == ncclSuccess) refused = call(t, stream);
  }
  ncclResult_t end = nccl().GroupEnd();
  check(refused, g.comm);
  check(end, g.comm);
}

}  // namespace

// Disables buffer registration in captured graphs: NCCL registers collectively, so a process
// whose capture fails would leave the others waiting.
void nccl_load() {
  setenv("NCCL_GRAPH_REGISTER", "0", /*overwrite=*/0);
  nccl();
}

std::string nccl_name() {
  ncclUniqueId id;
  check(nccl().GetUniqueId(&id));
  return std::string(id.internal, sizeof id.internal);
}

NcclGroup *nccl_join(const std::string &name, at::DeviceIndex device, int rank, int size) {
  ncclUniqueId id;
  TORCH_CHECK(name.size() == sizeof id.internal, "a group's unique id has ", sizeof id.internal, " bytes, not ", name.size());
  name.copy(id.internal, sizeof id.internal);
  c10::cuda::CUDAGuard on(device);
  auto g = std::make_unique<NcclGroup>(device);
  check(nccl().CommInitRank(&g->comm, size, id, rank));
  std::lock_guard<std::mutex> lock(joined().mutex);
  joined().groups.insert(g.get());
  return g.release();
}

void nccl_all_reduce(NcclGroup *g, const std::vector<at::Tensor> &list) {
  g->order(c10::cuda::getCurrentCUDAStream(g->device), g->side);
  g->sums = true;
  at_once(*g, list, g->side, [&](const at::Tensor &t, cudaStream_t stream) {
    return nccl().AllReduce(t.data_ptr(), t.data_ptr(), t.numel(), type_of(t), ncclSum, g->comm, stream);
  });
}

// A capture must not wait for a stream that is not part of it.
void nccl_wait(NcclGroup *g) {
  if (g->sums) g->order(g->side, c10::cuda::getCurrentCUDAStream(g->device));
  g->sums = false;
}

void nccl_broadcast(NcclGroup *g, const std::vector<at::Tensor> &list, int root) {
  at_once(*g, list, c10::cuda::getCurrentCUDAStream(g->device), [&](const at::Tensor &t, cudaStream_t stream) {
    return nccl().Broadcast(t.data_ptr(), t.data_ptr(), t.numel(), type_of(t), root, g->comm, stream);
  });
}

void nccl_all_gather(NcclGroup *g, const at::Tensor &mine, at::Tensor &all) {
  at_once(*g, {mine}, c10::cuda::getCurrentCUDAStream(g->device), [&](const at::Tensor &t, cudaStream_t stream) {
    return nccl().AllGather(t.data_ptr(), all.data_ptr(), t.numel(), type_of(t), g->comm, stream);
  });
}

// NCCL waits until all graphs that captured the group's collectives are destroyed.
void nccl_leave(NcclGroup *g) {
  {
    std::lock_guard<std::mutex> lock(joined().mutex);
    joined().groups.erase(g);
  }
  if (!g->aborted) (void)nccl().CommDestroy(g->comm);
  delete g;
}

}  // namespace cuda
}  // namespace iddpm

gt_error gt_nccl_check(void) {
  return iddpm::guard([] {
    std::lock_guard<std::mutex> lock(iddpm::cuda::joined().mutex);
    for (iddpm::NcclGroup *g : iddpm::cuda::joined().groups) iddpm::cuda::check_peers(g);
  });
}

gt_error gt_nccl_abort(void) {
  return iddpm::guard([] {
    std::lock_guard<std::mutex> lock(iddpm::cuda::joined().mutex);
    for (iddpm::NcclGroup *g : iddpm::cuda::joined().groups) iddpm::cuda::abort(g);
  });
}
