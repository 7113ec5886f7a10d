// NCCL: GPUs of several processes that sum, copy and gather as one. Everything
// goes to this thread's current stream, but for sums, which are made beside it, so it may
// be part of a recording.
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

  // What `to` is given from now on comes after what `from` has been given. The default
  // stream is that of the current GPU.
  void order(cudaStream_t from, cudaStream_t to) const {
    c10::cuda::CUDAGuard on(device);
    C10_CUDA_CHECK(cudaEventRecord(reached, from));
    C10_CUDA_CHECK(cudaStreamWaitEvent(to, reached, 0));
  }

  const c10::DeviceIndex device;
  const c10::cuda::CUDAStream side;  // for sums
  bool sums = false;                 // that nobody has waited for
  cudaEvent_t reached = nullptr;
  ncclComm_t comm = nullptr;
  std::atomic<bool> aborted{false};  // by another thread: comm is gone
};

namespace cuda {
namespace {

// The library is looked up when it is needed: one GPU does without it.
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
    TORCH_CHECK(handle != nullptr, "several GPUs need NCCL, libnccl.so.2, which is not there");
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
    default: TORCH_CHECK(false, "NCCL does not take ", t.scalar_type());
  }
}

// Memory is sent as it lies: all processes hold the same layouts.
void require(const NcclGroup &g, const at::Tensor &t) {
  TORCH_CHECK(!g.aborted, "the group was aborted");
  TORCH_CHECK(t.defined() && t.is_cuda() && t.get_device() == g.device, "the group takes tensors of GPU ",
              static_cast<int>(g.device));
  TORCH_CHECK(t.is_non_overlapping_and_dense(), "NCCL takes tensors without gaps in memory");
}

// The groups that this process has joined and not left.
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

// NCCL's kernels see it, and end: what they leave is of no use.
void abort(NcclGroup *g) {
  if (!g->aborted.exchange(true)) check(nccl().CommAbort(g->comm));
}

// Gives all tensors to NCCL at once.
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

// What NCCL would register of a recording's memory it registers together with the other
// processes: one that cannot record would not join in, and they would wait.
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
  TORCH_CHECK(name.size() == sizeof id.internal, "a group's name has ", sizeof id.internal, " bytes, not ", name.size());
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

// A recording must not wait for a stream that has no part in it.
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

// NCCL waits until no recording is left that the group has a part in.
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
