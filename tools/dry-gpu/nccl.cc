// NCCL for the processes of one machine. Each call counts as a launch and leaves memory
// unchanged. A collective completes only when all processes have launched it, so a wait can
// hang as with NCCL. The processes count launches in shared memory.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>

#include <nccl.h>

#include "dry.h"

using namespace dry;

namespace {

constexpr int kMaxRanks = 64;

// The shared memory of a group.
struct Board {
  std::atomic<int> joined;
  std::atomic<pid_t> process[kMaxRanks];
  std::atomic<uint64_t> launched[kMaxRanks];  // collectives
};

}  // namespace

struct ncclComm {
  int device;
  int rank;
  int size;
  Board *board;
  std::atomic<bool> aborted{false};
};

namespace {

thread_local int grouped = 0;

// The process's only group. Groups are never freed, since another thread may be waiting for
// one.
std::atomic<ncclComm_t> joined{nullptr};

std::string path_of(const ncclUniqueId &id) { return std::string("/dev/shm/") + id.internal; }

// All processes map one file, which the last one to join removes.
Board *open_board(const ncclUniqueId &id, int size) {
  int file = open(path_of(id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(Board)) != 0) return nullptr;
  void *p = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (p == MAP_FAILED) return nullptr;
  auto *board = static_cast<Board *>(p);
  if (++board->joined == size) unlink(path_of(id).c_str());
  return board;
}

// A collective that reads src and writes dst.
ncclResult_t launch(const char *name, ncclComm_t comm, const void *src, const void *dst, cudaStream_t stream) {
  cudaError_t e = call([&](State &s) {
    if (comm->aborted) violation(std::string(name) + " of a group that was aborted");
    if (comm->device != current_device()) violation(std::string(name) + " on another GPU than the group's");
    for (const void *p : {src, dst}) {
      const Allocation *a = find(s, p);
      if (a == nullptr || a->place != Place::kDevice) violation(std::string(name) + " of memory that is not the GPU's");
    }
    return submit(s, name, stream, {Work::kCollective, name});
  });
  return e == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

}  // namespace

namespace dry {

void perform_collective() {
  ncclComm_t comm = joined;
  if (comm != nullptr) ++comm->board->launched[comm->rank];
}

uint64_t collectives() {
  ncclComm_t comm = joined;
  return comm == nullptr ? 0 : comm->board->launched[comm->rank].load();
}

bool collectives_done(uint64_t n) {
  ncclComm_t comm = joined;
  if (comm == nullptr || comm->aborted) return true;
  for (int rank = 0; rank < comm->size; ++rank) {
    if (comm->board->launched[rank] < n) return false;
  }
  return true;
}

void wait_for_collectives(uint64_t n) {
  while (!collectives_done(n)) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

}  // namespace dry

DRY_API ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "dry-gpu-%d-%08x", getpid(), std::random_device{}());
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank) {
  if (strncmp(id.internal, "dry-gpu-", 8) != 0) violation("ncclCommInitRank with a name that no process has made");
  if (rank < 0 || rank >= size || size > kMaxRanks) return ncclInvalidArgument;
  Board *board = open_board(id, size);
  if (board == nullptr) return ncclSystemError;
  board->process[rank] = getpid();
  while (board->joined < size) std::this_thread::sleep_for(std::chrono::microseconds(100));
  *comm = new ncclComm{current_device(), rank, size, board};
  joined = *comm;
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

// NCCL detects the exit of a process between machines, by its connections, but not within
// one. With DRY_GPU_NETWORK=1 the processes behave as on several machines.
DRY_API ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
  const char *network = getenv("DRY_GPU_NETWORK");
  *error = ncclSuccess;
  for (int rank = 0; rank < comm->size && network != nullptr && *network == '1'; ++rank) {
    if (kill(comm->board->process[rank], 0) != 0) *error = ncclRemoteError;
  }
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommAbort(ncclComm_t comm) {
  report("eager", "nccl", "abort");
  comm->aborted = true;
  return ncclSuccess;
}

DRY_API ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->aborted) violation("ncclCommDestroy of a group that was aborted");
  joined = nullptr;
  return ncclSuccess;
}

DRY_API const char *ncclGetErrorString(ncclResult_t error) {
  return error == ncclRemoteError ? "remote process exited" : "the stand-in GPU's NCCL has failed";
}

DRY_API const char *ncclGetLastError(ncclComm_t) { return "no more is known"; }
