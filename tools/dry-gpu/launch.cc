// Kernels: registered by name when a library is loaded; launches are checked and counted,
// not run.
#include <algorithm>

#include "dry.h"

using namespace dry;

namespace {

// The oldest compute capability that CUDA 13 compiles for, 7.5: libtorch and csrc/cuda have no code for older ones.
constexpr int kOldestImage = 75;

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};

// The launch configuration that <<<...>>> pushes for the kernel's host stub.
std::vector<Configuration> &pushed() {
  static thread_local std::vector<Configuration> stack;
  return stack;
}

bool fits(State &s, const void *kernel, const Configuration &c) {
  auto asked = s.shared_memory.find(kernel);
  size_t room = std::max(kShared, asked == s.shared_memory.end() ? size_t{0} : asked->second);
  size_t threads = size_t{c.block.x} * c.block.y * c.block.z;
  return threads >= 1 && threads <= kMaxThreads && c.block.z <= 64 && c.grid.x >= 1 && c.grid.x <= 0x7fffffffu &&
         c.grid.y >= 1 && c.grid.y <= 65535 && c.grid.z >= 1 && c.grid.z <= 65535 && c.shared <= room;
}

cudaError_t launch(const char *api, const void *kernel, const Configuration &c) {
  return call([&](State &s) {
    auto name = s.kernels.find(kernel);
    if (name == s.kernels.end()) return cudaErrorInvalidDeviceFunction;
    if (10 * card().major + card().minor < kOldestImage) return cudaErrorNoKernelImageForDevice;
    if (!fits(s, kernel, c)) {
      violation(std::string("a launch is too large, or empty: ") + name->second);
      return cudaErrorInvalidConfiguration;
    }
    return submit(s, api, c.stream, {Work::kLaunch, name->second});
  });
}

cudaError_t occupancy(int *blocks, int threads) {
  *blocks = std::max(1, std::min(card().blocks_of_sm, card().threads_of_sm / std::max(1, threads)));
  return cudaSuccess;
}

}  // namespace

DRY_API void **__cudaRegisterFatBinary(void *) {
  static void *handle;
  return &handle;
}

DRY_API void __cudaRegisterFatBinaryEnd(void **) {}
DRY_API void __cudaUnregisterFatBinary(void **) {}

DRY_API void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
                                    dim3 *, int *) {
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.kernels[function] = name;
}

DRY_API void __cudaRegisterVar(void **, char *variable, char *, const char *, int, size_t bytes, int, int) {
  State &s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.symbols[variable] = {nullptr, bytes};
}

DRY_API cudaError_t cudaGetSymbolAddress(void **address, const void *variable) {
  return call([&](State &s) {
    auto at = s.symbols.find(variable);
    if (at == s.symbols.end()) return cudaErrorInvalidSymbol;
    auto &[place, bytes] = at->second;
    if (place == nullptr) {
      if (cudaError_t e = allocate(s, "cudaGetSymbolAddress", Place::kDevice, bytes, &place)) return e;
    }
    *address = place;
    return cudaSuccess;
  });
}

DRY_API cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void *>(function));
  return cudaSuccess;
}

DRY_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st *stream) {
  pushed().push_back({grid, block, shared, stream});
  return 0;
}

DRY_API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  Configuration c = pushed().back();
  pushed().pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t *>(stream) = c.stream;
  return cudaSuccess;
}

DRY_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream) {
  return launch("cudaLaunchKernel", kernel, {grid, block, shared, stream});
}

DRY_API cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream) {
  return launch("cudaLaunchKernel", kernel, {grid, block, shared, stream});
}

DRY_API cudaError_t cudaLaunchCooperativeKernel(const void *kernel, dim3 grid, dim3 block, void **, size_t shared,
                                                cudaStream_t stream) {
  return launch("cudaLaunchCooperativeKernel", kernel, {grid, block, shared, stream});
}

DRY_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *kernel, void **) {
  return launch("cudaLaunchKernelExC", kernel, {c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream});
}

// Returns the version of the machine code that a card loads: of its own major version, up to its minor one. libtorch's
// wheel has the versions below, so a card of 8.9 loads 8.6 (and 8.0 of libiddpm_cuda.so). CUB compares the version with those.
static int loaded_code() {
  const int own = 10 * card().major + card().minor;
  int loaded = own;
  for (int version : {75, 80, 86, 90, 100, 120}) {
    if (version / 10 == card().major && version <= own) loaded = version;
  }
  return loaded;
}

DRY_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, const void *) {
  *out = {};
  out->maxThreadsPerBlock = kMaxThreads;
  out->numRegs = 32;
  out->binaryVersion = out->ptxVersion = loaded_code();
  out->maxDynamicSharedSizeBytes = static_cast<int>(kShared);
  return cudaSuccess;
}

DRY_API cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
  return call([&](State &s) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (static_cast<size_t>(value) > card().shared_opt_in) return cudaErrorInvalidValue;
    s.shared_memory[kernel] = static_cast<size_t>(value);
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads, size_t) {
  return occupancy(blocks, threads);
}

DRY_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int threads, size_t,
                                                                           unsigned) {
  return occupancy(blocks, threads);
}
