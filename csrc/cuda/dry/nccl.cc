// NCCL for processes that do not talk to one another: what they would sum, copy or
// gather stays as it is, and each call is a launch.
#include <cstring>

#include <nccl.h>

#include "dry.h"

using namespace dry;

struct ncclComm {
  int device;
};

namespace {

thread_local int grouped = 0;

// A collective that reads src and writes dst.
ncclResult_t launch(const char *name, ncclComm_t comm, const void *src, const void *dst, cudaStream_t stream) {
  cudaError_t e = call([&](State &s) {
    if (comm->device != current_device()) violation(std::string(name) + " on another GPU than the group's");
    for (const void *p : {src, dst}) {
      const Allocation *a = find(s, p);
      if (a == nullptr || a->place != Place::kDevice) violation(std::string(name) + " of memory that is not the GPU's");
    }
    return submit(s, name, stream, {Work::kLaunch, name});
  });
  return e == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

}  // namespace

DRY_API ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  memset(id->internal, 7, sizeof id->internal);
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank) {
  for (char c : id.internal) {
    if (c != 7) violation("ncclCommInitRank with a name that no process has made");
  }
  if (rank < 0 || rank >= size) return ncclInvalidArgument;
  *comm = new ncclComm{current_device()};
  report("eager", "nccl", "group of " + std::to_string(size));
  return ncclSuccess;
}

DRY_API ncclResult_t ncclAllReduce(const void *src, void *dst, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  return launch("nccl all-reduce", comm, src, dst, stream);
}

DRY_API ncclResult_t ncclBroadcast(const void *src, void *dst, size_t, ncclDataType_t, int, ncclComm_t comm, cudaStream_t stream) {
  return launch("nccl broadcast", comm, src, dst, stream);
}

DRY_API ncclResult_t ncclAllGather(const void *src, void *dst, size_t, ncclDataType_t, ncclComm_t comm, cudaStream_t stream) {
  return launch("nccl all-gather", comm, src, dst, stream);
}

DRY_API ncclResult_t ncclGroupStart() {
  ++grouped;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclGroupEnd() {
  if (grouped == 0) return ncclInvalidUsage;
  --grouped;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}

DRY_API const char *ncclGetErrorString(ncclResult_t) { return "the dry-run GPU's NCCL has failed"; }

DRY_API const char *ncclGetLastError(ncclComm_t) { return "no more is known"; }
