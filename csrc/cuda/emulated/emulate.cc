// A grid of threads on one CPU core: each thread of a block is a fiber that yields to the
// next one at a barrier.
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_runtime_api.h"

namespace emulated {
namespace {

// The stack contains the kernel's arguments, up to 32 KiB.
constexpr size_t kStack = 128 << 10;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool done = false;
};

ucontext_t scheduler;
Fiber *running;
const std::function<void()> *body;
bool backward = false;

// The i-th of n in the current order.
size_t turn(size_t i, size_t n) { return backward ? n - 1 - i : i; }

void enter() {
  (*body)();
  running->done = true;
}

void start(Fiber &f) {
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = &scheduler;
  f.done = false;
  makecontext(&f.context, enter, 0);
}

dim3 place(unsigned i, dim3 of) { return {i % of.x, i / of.x % of.y, i / of.x / of.y}; }

// Runs all threads to the next barrier or to their end, and returns the number of ended
// threads.
size_t advance(std::vector<Fiber> &fibers) {
  size_t ended = 0;
  for (size_t i = 0; i < fibers.size(); ++i) {
    size_t thread = turn(i, fibers.size());
    running = &fibers[thread];
    threadIdx = place(static_cast<unsigned>(thread), blockDim);
    swapcontext(&scheduler, &running->context);
    ended += running->done;
  }
  return ended;
}

void run_block(std::vector<Fiber> &fibers) {
  for (Fiber &f : fibers) start(f);
  size_t ended;
  while ((ended = advance(fibers)) == 0) {}
  if (ended == fibers.size()) return;
  fprintf(stderr, "%zu of %zu threads of a block ended while the others wait at a barrier\n", ended, fibers.size());
  abort();
}

}  // namespace

void set_backward(bool on) { backward = on; }

void barrier() { swapcontext(&running->context, &scheduler); }

cudaError_t run(dim3 grid, dim3 block, const std::function<void()> &kernel) {
  size_t threads = size_t{block.x} * block.y * block.z, blocks = size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  body = &kernel;
  gridDim = grid;
  blockDim = block;
  std::vector<Fiber> fibers(threads);
  for (size_t b = 0; b < blocks; ++b) {
    blockIdx = place(static_cast<unsigned>(turn(b, blocks)), grid);
    run_block(fibers);
  }
  return cudaSuccess;
}

}  // namespace emulated
