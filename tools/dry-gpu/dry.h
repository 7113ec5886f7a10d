// A stand-in GPU. It replaces NVIDIA's libraries, so that everything but
// the arithmetic can be checked on a machine without a GPU. Work on a stream completes
// at once, kernels are counted but not run, and captures follow CUDA's rules. Its results
// are hypotheses until a real GPU has run the code. See docs/architecture.md.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#define DRY_API extern "C" __attribute__((visibility("default")))

namespace dry {

// Two GPUs with separate memory, which is counted together.
constexpr int kDevices = 2;
constexpr int kMultiprocessors = 132, kMaxThreads = 1024;
constexpr size_t kShared = 48 << 10;

// The card that is modelled: an H100, unless the environment names another one.
struct Card {
  std::string name;
  int major, minor;  // compute capability
  size_t memory;     // bytes
  int64_t workspace; // bytes of workspace per cuDNN plan
  int driver;        // the newest CUDA that the driver supports: 1000 major + 10 minor
  int devices;       // number of visible GPUs
  int threads_of_sm, blocks_of_sm;
  size_t shared_of_sm, shared_opt_in;  // bytes
};

const Card &card();

enum class Place { kPageable, kPinned, kDevice };

// Memory that the program has allocated. Only copies read device memory: the program's
// mapping of it is inaccessible, and `alias` is our own mapping.
struct Allocation {
  uint64_t id;
  Place place;
  int device;  // the allocating thread's current GPU
  size_t bytes;
  char *alias;
};

// The calling thread's GPU.
int &current_device();

// One operation on a stream.
struct Work {
  enum Kind { kLaunch, kCollective, kCopy, kSet } kind;
  std::string what;  // a kernel's or a library call's name, or a copy's direction
  void *dst = nullptr;
  const void *src = nullptr;
  size_t bytes = 0;
  int value = 0;
  uint64_t host = 0;  // the pinned allocation that a captured copy has on one side
  std::string was = {};  // the host memory that a captured copy reads, at capture time
};

}  // namespace dry

// CUDA's handles are pointers to these.
struct CUgraphNode_st {
  dry::Work work;
  std::vector<cudaGraphNode_t> after;
};

struct CUgraph_st {
  std::deque<CUgraphNode_st> nodes;
};

struct CUgraphExec_st {
  std::vector<dry::Work> works;
};

namespace dry {

struct Capture {
  uint64_t id;
  cudaStream_t origin;
  std::thread::id thread;
  cudaStreamCaptureMode mode;
  bool active = true;
  cudaError_t broken = cudaSuccess;  // why it was invalidated
  std::unique_ptr<CUgraph_st> graph{new CUgraph_st};
};

}  // namespace dry

struct CUstream_st {
  bool blocking = true;  // the legacy default stream waits for it
  int device = 0;        // of the legacy stream: whichever is current
  std::shared_ptr<dry::Capture> capture;
  std::vector<cudaGraphNode_t> frontier;  // dependencies of the next work in the capture
};

struct CUevent_st {
  bool recorded = false;
  bool timed = true;
  int device = 0;
  uint64_t given = 0;                     // State::given when it was recorded
  uint64_t collectives = 0;               // number of NCCL collectives submitted by then
  std::shared_ptr<dry::Capture> capture;  // the one that it was last recorded in
  std::vector<cudaGraphNode_t> frontier;
};

namespace dry {

// CUDA's interface has global state per process, and so does this.
struct State {
  std::mutex mutex;
  CUstream_st legacy, per_thread;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::map<char *, Allocation> memory;
  size_t used = 0;  // bytes of the device
  std::unordered_map<const void *, size_t> written;  // by copies to the device: where, and how many bytes
  uint64_t ids = 0;
  uint64_t given = 0;  // launches, copies and graphs submitted so far, on all streams
  std::vector<std::shared_ptr<Capture>> captures;  // the active ones
  std::unordered_map<const void *, const char *> kernels;
  std::unordered_map<const void *, size_t> shared_memory;  // limits that were raised per kernel
  std::unordered_map<const void *, std::pair<void *, size_t>> symbols;
};

State &state();

// --- report.cc: a line for each thing that happens --------------------------------------------

void report(const char *how, const char *kind, const std::string &what, size_t bytes = 0);

// Reports something that a real GPU would reject, or do differently than intended.
void violation(const std::string &text);

// Reports a call that is not modelled.
void unknown(const std::string &name);

// The error of this thread's last failed call.
cudaError_t &last_error();

// Runs the body of a call of the runtime, which returns its error.
template <class Body>
cudaError_t call(Body body) {
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  cudaError_t e = body(s);
  if (e != cudaSuccess) last_error() = e;
  return e;
}

// --- memory.cc ---------------------------------------------------------------------------------

cudaError_t allocate(State &s, const char *api, Place place, size_t bytes, void **out);
cudaError_t release(State &s, const char *api, Place place, void *p);

// The allocation that p points into, or null.
const Allocation *find(State &s, const void *p);

// Our own address of the memory that p points to.
char *reachable(State &s, const void *p);

// --- capture.cc --------------------------------------------------------------------------------

// The stream of a handle, or null for one that does not exist.
cudaStream_t lookup(State &s, cudaStream_t handle);

// Rejects calls that no thread, or not this one, may make during a capture.
cudaError_t forbid_unsafe(State &s, const char *api);
cudaError_t forbid_any(State &s, const char *api);
cudaError_t forbid_implicit(State &s, const char *api, cudaStream_t stream);

// Rejects an operation and invalidates the capture that it conflicts with.
cudaError_t refuse(Capture &c, cudaError_t error, const char *api, const std::string &why);

// Submits work to a stream: it runs now, or when the captured graph is launched.
cudaError_t submit(State &s, const char *api, cudaStream_t handle, Work work);
void perform(State &s, const char *how, const Work &work);

// A library call that launches work on a stream.
cudaError_t submit_call(const char *name, cudaStream_t stream);

// --- nccl.cc -----------------------------------------------------------------------------------

// Collectives complete when all processes have reached them: the number so far, whether the
// first n are complete, and a wait for them, which must not hold the state's mutex.
void perform_collective();
uint64_t collectives();
bool collectives_done(uint64_t n);
void wait_for_collectives(uint64_t n);

}  // namespace dry
