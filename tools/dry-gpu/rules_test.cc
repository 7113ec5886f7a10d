// Tests the stand-in GPU itself: what it rejects in a capture, and with which error.
#include <cuda_runtime_api.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

extern "C" void __cudaRegisterFunction(void **, const char *, char *, const char *, int, uint3 *, uint3 *, dim3 *, dim3 *, int *);

namespace {

int failures;

#define EXPECT(want, expression)                                                                        \
  do {                                                                                                  \
    int got = static_cast<int>(expression);                                                             \
    if (got == static_cast<int>(want)) break;                                                           \
    ++failures;                                                                                         \
    printf("%s:%d: %s is %d, not " #want "\n", __FILE__, __LINE__, #expression, got);          \
  } while (0)

cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t s;
  EXPECT(cudaSuccess, cudaStreamCreateWithPriority(&s, flags, 0));
  return s;
}

cudaEvent_t new_event() {
  cudaEvent_t e;
  EXPECT(cudaSuccess, cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  return e;
}

template <class T>
T *new_memory(cudaError_t (*allocate)(void **, size_t)) {
  void *p = nullptr;
  EXPECT(cudaSuccess, allocate(&p, sizeof(T)));
  return static_cast<T *>(p);
}

cudaError_t pinned(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t device(void **p, size_t bytes) { return cudaMalloc(p, bytes); }

cudaError_t elsewhere(const std::function<cudaError_t()> &f) {
  cudaError_t e;
  std::thread([&] { e = f(); }).join();
  return e;
}

// Captures what `body` submits to a stream, and returns the error of the capture's end.
cudaError_t capture(cudaStreamCaptureMode mode, const std::function<void(cudaStream_t)> &body, cudaGraph_t *graph = nullptr,
                    unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t s = new_stream(flags);
  cudaGraph_t ignored;
  EXPECT(cudaSuccess, cudaStreamBeginCapture(s, mode));
  body(s);
  return cudaStreamEndCapture(s, graph != nullptr ? graph : &ignored);
}

constexpr auto kGlobal = cudaStreamCaptureModeGlobal, kLocal = cudaStreamCaptureModeThreadLocal, kRelaxed = cudaStreamCaptureModeRelaxed;

void waiting_is_refused() {
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kLocal, [](cudaStream_t s) {
    EXPECT(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(s));
    EXPECT(cudaErrorStreamCaptureInvalidated, cudaEventRecord(new_event(), s));
  }));
  EXPECT(cudaErrorStreamCaptureInvalidated,
         capture(kRelaxed, [](cudaStream_t) { EXPECT(cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize()); }));
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kRelaxed, [](cudaStream_t s) {
    cudaEvent_t e = new_event();
    EXPECT(cudaSuccess, cudaEventRecord(e, s));
    EXPECT(cudaErrorCapturedEvent, cudaEventQuery(e));
  }));
}

void modes_say_who_may_allocate() {
  auto allocate = [] {
    void *p;
    return cudaMalloc(&p, 1);
  };
  EXPECT(cudaErrorStreamCaptureInvalidated,
         capture(kLocal, [&](cudaStream_t) { EXPECT(cudaErrorStreamCaptureUnsupported, allocate()); }));
  EXPECT(cudaSuccess, capture(kLocal, [&](cudaStream_t) { EXPECT(cudaSuccess, elsewhere(allocate)); }));
  EXPECT(cudaErrorStreamCaptureInvalidated,
         capture(kGlobal, [&](cudaStream_t) { EXPECT(cudaErrorStreamCaptureUnsupported, elsewhere(allocate)); }));
  EXPECT(cudaSuccess, capture(kRelaxed, [&](cudaStream_t) { EXPECT(cudaSuccess, allocate()); }));
  EXPECT(cudaSuccess, capture(kGlobal, [&](cudaStream_t) {
    cudaStreamCaptureMode mode = kRelaxed;
    EXPECT(cudaSuccess, cudaThreadExchangeStreamCaptureMode(&mode));
    EXPECT(cudaSuccess, allocate());
    EXPECT(cudaSuccess, cudaThreadExchangeStreamCaptureMode(&mode));
  }));
}

// Work on a stream that waits for the captured one, and joins it again if `join`.
void fork_from(cudaStream_t origin, bool join) {
  cudaStream_t side = new_stream();
  cudaEvent_t begin = new_event(), end = new_event();
  static float *p = new_memory<float>(device);
  EXPECT(cudaSuccess, cudaEventRecord(begin, origin));
  EXPECT(cudaSuccess, cudaStreamWaitEvent(side, begin, 0));
  EXPECT(cudaSuccess, cudaMemsetAsync(p, 0, sizeof *p, side));
  EXPECT(cudaSuccess, cudaEventRecord(end, side));
  if (join) EXPECT(cudaSuccess, cudaStreamWaitEvent(origin, end, 0));
}

void forks_must_join() {
  fork_from(new_stream(), true);  // outside a capture it succeeds
  EXPECT(cudaSuccess, capture(kLocal, [](cudaStream_t s) { fork_from(s, true); }));
  EXPECT(cudaErrorStreamCaptureUnjoined, capture(kLocal, [](cudaStream_t s) { fork_from(s, false); }));
}

void captures_stay_apart() {
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kLocal, [](cudaStream_t s) {
    cudaEvent_t e = new_event();
    EXPECT(cudaSuccess, cudaEventRecord(e, new_stream()));
    EXPECT(cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(s, e, 0));
  }));
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kLocal, [](cudaStream_t s) {
    EXPECT(cudaErrorStreamCaptureInvalidated, capture(kLocal, [s](cudaStream_t other) {
      cudaEvent_t e = new_event();
      EXPECT(cudaSuccess, cudaEventRecord(e, s));
      EXPECT(cudaErrorStreamCaptureMerge, cudaStreamWaitEvent(other, e, 0));
    }));
  }));
}

void the_legacy_stream_waits_for_blocking_ones() {
  float *p = new_memory<float>(device);
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kRelaxed, [&](cudaStream_t) {
    EXPECT(cudaErrorStreamCaptureImplicit, cudaMemsetAsync(p, 0, sizeof *p, nullptr));
  }, nullptr, cudaStreamDefault));
  EXPECT(cudaSuccess, capture(kRelaxed, [&](cudaStream_t) { EXPECT(cudaSuccess, cudaMemsetAsync(p, 0, sizeof *p, nullptr)); }));
}

void a_capture_ends_where_it_began() {
  EXPECT(cudaSuccess, capture(kRelaxed, [](cudaStream_t s) {
    cudaGraph_t g;
    EXPECT(cudaErrorIllegalState, cudaStreamEndCapture(new_stream(), &g));
    EXPECT(cudaErrorIllegalState, cudaStreamBeginCapture(s, kRelaxed));
  }));
  cudaGraph_t g;
  EXPECT(cudaErrorStreamCaptureInvalidated, capture(kLocal, [&](cudaStream_t s) {
    EXPECT(cudaErrorStreamCaptureWrongThread, elsewhere([&] { return cudaStreamEndCapture(s, &g); }));
  }));
}

int reported(const std::string &what) {
  std::ifstream report(getenv("DRY_GPU_REPORT"));
  int n = 0;
  for (std::string line; std::getline(report, line);) n += (line + "\n").find("\t" + what) != std::string::npos;
  return n;
}

int violations() { return reported("violation\t"); }

void waits_say_what_came_after() {
  float *p = new_memory<float>(device);
  cudaStream_t s = new_stream();
  cudaEvent_t e = new_event();
  EXPECT(cudaSuccess, cudaEventSynchronize(e));
  EXPECT(0, reported("wait\t") + reported("sync\t"));
  EXPECT(cudaSuccess, cudaEventRecord(e, s));
  EXPECT(cudaSuccess, cudaEventSynchronize(e));
  EXPECT(1, reported("sync\t"));
  for (int i = 0; i < 3; ++i) EXPECT(cudaSuccess, cudaMemsetAsync(p, 0, sizeof *p, s));
  EXPECT(cudaSuccess, cudaEventSynchronize(e));
  EXPECT(1, reported("wait\t") * reported("3\n"));
}

void graphs_copy_when_they_are_launched() {
  float *from = new_memory<float>(pinned), *there = new_memory<float>(device), *back = new_memory<float>(pinned);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  int before = violations();
  EXPECT(cudaSuccess, capture(kLocal, [&](cudaStream_t s) {
    EXPECT(cudaSuccess, cudaMemcpyAsync(there, from, sizeof *from, cudaMemcpyHostToDevice, s));
    EXPECT(cudaSuccess, cudaMemcpyAsync(back, there, sizeof *back, cudaMemcpyDeviceToHost, s));
  }, &graph));
  EXPECT(cudaSuccess, cudaGraphInstantiateWithFlags(&exec, graph, 0));
  *from = 7;
  EXPECT(0, *back);
  EXPECT(cudaSuccess, cudaGraphLaunch(exec, new_stream()));
  EXPECT(7, *back);
  EXPECT(0, violations() - before);
  EXPECT(cudaSuccess, cudaFreeHost(from));
  EXPECT(cudaSuccess, cudaGraphLaunch(exec, new_stream()));
  EXPECT(1, violations() - before);
}

void pageable_memory_in_a_capture_is_seen() {
  float *there = new_memory<float>(device), pageable = 1;
  int before = violations();
  EXPECT(cudaSuccess, capture(kLocal, [&](cudaStream_t s) {
    EXPECT(cudaSuccess, cudaMemcpyAsync(there, &pageable, sizeof pageable, cudaMemcpyHostToDevice, s));
  }));
  EXPECT(1, violations() - before);
}

void memory_is_where_it_is() {
  float *there = new_memory<float>(device), number = 3, back = 0;
  EXPECT(cudaSuccess, cudaMemcpy(there, &number, sizeof number, cudaMemcpyHostToDevice));
  EXPECT(cudaSuccess, cudaMemcpy(&back, there, sizeof back, cudaMemcpyDeviceToHost));
  EXPECT(3, back);
  EXPECT(cudaErrorInvalidValue, cudaMemcpy(there, &number, sizeof number, cudaMemcpyDeviceToHost));
  pid_t child = fork();
  if (child == 0) _exit(*there == 3 ? 0 : 1);
  int status;
  waitpid(child, &status, 0);
  EXPECT(SIGSEGV, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

void launches_are_checked() {
  static char kernel, other;
  void *args[] = {nullptr};
  char name[] = "kernel";
  __cudaRegisterFunction(nullptr, &kernel, name, name, -1, nullptr, nullptr, nullptr, nullptr, nullptr);
  EXPECT(cudaSuccess, cudaLaunchKernel(&kernel, dim3(1), dim3(1024), args, 0, nullptr));
  EXPECT(cudaErrorInvalidDeviceFunction, cudaLaunchKernel(&other, dim3(1), dim3(1), args, 0, nullptr));
  EXPECT(cudaErrorInvalidConfiguration, cudaLaunchKernel(&kernel, dim3(1), dim3(1025), args, 0, nullptr));
  EXPECT(cudaErrorInvalidConfiguration, cudaLaunchKernel(&kernel, dim3(1, 65536), dim3(1), args, 0, nullptr));
  EXPECT(cudaErrorInvalidConfiguration, cudaLaunchKernel(&kernel, dim3(0), dim3(1), args, 0, nullptr));
  EXPECT(cudaErrorInvalidConfiguration, cudaLaunchKernel(&kernel, dim3(1), dim3(1), args, 100 << 10, nullptr));
  EXPECT(cudaSuccess, cudaFuncSetAttribute(&kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 << 10));
  EXPECT(cudaSuccess, cudaLaunchKernel(&kernel, dim3(1), dim3(1), args, 100 << 10, nullptr));
}

}  // namespace

int main() {
  freopen("/dev/null", "w", stderr);  // each rejection is printed there
  char report[] = "/tmp/dry-gpu-XXXXXX";
  close(mkstemp(report));
  setenv("DRY_GPU_REPORT", report, 1);
  waits_say_what_came_after();
  waiting_is_refused();
  modes_say_who_may_allocate();
  forks_must_join();
  captures_stay_apart();
  the_legacy_stream_waits_for_blocking_ones();
  a_capture_ends_where_it_began();
  graphs_copy_when_they_are_launched();
  pageable_memory_in_a_capture_is_seen();
  memory_is_where_it_is();
  launches_are_checked();
  unlink(report);
  if (failures != 0) printf("%d failures\n", failures);
  return failures != 0;
}
