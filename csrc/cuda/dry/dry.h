// A GPU that computes nothing: it stands in for NVIDIA's libraries, so that all
// that is not arithmetic can be watched where there is no GPU. What is given to a
// stream is done at once; kernels are counted; a capture is kept and refused by
// the rules of CUDA. See docs/architecture.md.
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

// Two GPUs, whose memory is told apart and counted together.
constexpr int kDevices = 2;
constexpr int kMultiprocessors = 132, kMostThreads = 1024;
constexpr size_t kShared = 48 << 10;

// What the GPUs pose as: an H100, unless the environment names another card.
struct Card {
  std::string name;
  int major, minor;  // compute capability
  size_t memory;     // bytes
  int64_t workspace; // bytes that each plan of cuDNN's asks for
  int driver;        // the newest CUDA that the driver supports: 1000 major + 10 minor
  int devices;       // those that the program may see
  int threads_of_sm, blocks_of_sm;
  size_t shared_of_sm, shared_opt_in;  // bytes
};

const Card &card();

enum class Place { kPageable, kPinned, kDevice };

// Memory that a program was given. Nobody but a copy reads a device's, so the
// program's view of it cannot be touched, and `alias` is ours.
struct Allocation {
  uint64_t id;
  Place place;
  int device;  // the thread's at that time
  size_t bytes;
  char *alias;
};

// The calling thread's GPU.
int &current_device();

// One thing that a stream is given.
struct Work {
  enum Kind { kLaunch, kCollective, kCopy, kSet } kind;
  std::string what;  // a kernel's or a library call's name, or a copy's direction
  void *dst = nullptr;
  const void *src = nullptr;
  size_t bytes = 0;
  int value = 0;
  uint64_t host = 0;  // the pinned allocation that a captured copy has on one side
  std::string was = {};  // what a captured copy would have copied from the host
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
  std::vector<cudaGraphNode_t> frontier;  // what the next work in the capture comes after
};

struct CUevent_st {
  bool recorded = false;
  bool timed = true;
  int device = 0;
  uint64_t given = 0;                     // State::given when it was recorded
  uint64_t collectives = 0;               // of NCCL, that were given by then
  std::shared_ptr<dry::Capture> capture;  // the one that it was last recorded in
  std::vector<cudaGraphNode_t> frontier;
};

namespace dry {

// CUDA's interface has one device per process behind it: so has this.
struct State {
  std::mutex mutex;
  CUstream_st legacy, per_thread;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::map<char *, Allocation> memory;
  size_t used = 0;  // bytes of the device
  std::unordered_map<const void *, size_t> written;  // by copies to the device: where, and how many bytes
  uint64_t ids = 0;
  uint64_t given = 0;  // launches, copies and graphs so far, of all streams
  std::vector<std::shared_ptr<Capture>> captures;  // the active ones
  std::unordered_map<const void *, const char *> kernels;
  std::unordered_map<const void *, size_t> shared_memory;  // that a kernel may have, where it asked for more
  std::unordered_map<const void *, std::pair<void *, size_t>> symbols;
};

State &state();

// --- report.cc: a line for each thing that happens --------------------------------------------

void report(const char *how, const char *kind, const std::string &what, size_t bytes = 0);

// Something that a real GPU would refuse, or do otherwise than the program means.
void violation(const std::string &text);

// A call that nobody has written.
void unknown(const std::string &name);

// The error of this thread's last call that failed.
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

// Where we may read and write what p points to.
char *reachable(State &s, const void *p);

// --- capture.cc --------------------------------------------------------------------------------

// The stream of a handle, or null for one that does not exist.
cudaStream_t lookup(State &s, cudaStream_t handle);

// Refuses what no thread, or not this one, may do while a capture goes on.
cudaError_t forbid_unsafe(State &s, const char *api);
cudaError_t forbid_any(State &s, const char *api);
cudaError_t forbid_implicit(State &s, const char *api, cudaStream_t stream);

// Refuses an operation and invalidates the capture it is in the way of.
cudaError_t refuse(Capture &c, cudaError_t error, const char *api, const std::string &why);

// Gives a stream something to do, now or when the graph is launched.
cudaError_t submit(State &s, const char *api, cudaStream_t handle, Work work);
void perform(State &s, const char *how, const Work &work);

// A library's call that launches something on a stream.
cudaError_t submit_call(const char *name, cudaStream_t stream);

// --- nccl.cc -----------------------------------------------------------------------------------

// A stream gets to a collective: how many there were so far, and whether the first n are done,
// for which all processes must get there. A wait for them must not hold the state's mutex.
void perform_collective();
uint64_t collectives();
bool collectives_done(uint64_t n);
void wait_for_collectives(uint64_t n);

}  // namespace dry
