// Device properties: by default those of an H100.
#include <cstdio>
#include <cstring>

#include "dry.h"

using namespace dry;

namespace {

struct Named {
  cudaError_t error;
  const char *name, *text;
};

#define NAMED(error, text) {error, #error, text}
const Named kErrors[] = {
    NAMED(cudaSuccess, "no error"),
    NAMED(cudaErrorInvalidValue, "invalid argument"),
    NAMED(cudaErrorMemoryAllocation, "out of memory"),
    NAMED(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    NAMED(cudaErrorInvalidDevice, "invalid device ordinal"),
    NAMED(cudaErrorInvalidDeviceFunction, "invalid device function"),
    NAMED(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    NAMED(cudaErrorNotReady, "device not ready"),
    NAMED(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    NAMED(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    NAMED(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    NAMED(cudaErrorSymbolNotFound, "named symbol not found"),
    NAMED(cudaErrorNotSupported, "operation not supported"),
    NAMED(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    NAMED(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    NAMED(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    NAMED(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    NAMED(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    NAMED(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    NAMED(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing blocking stream"),
    NAMED(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    NAMED(cudaErrorStreamCaptureWrongThread, "attempt to terminate a thread-local capture sequence from another thread"),
};
#undef NAMED

const Named &named(cudaError_t error) {
  static const Named other{cudaErrorUnknown, "cudaErrorUnknown", "an error that the dry run has no text for"};
  for (const Named &n : kErrors) {
    if (n.error == error) return n;
  }
  return other;
}

void fill(cudaDeviceProp &p) {
  p = {};
  snprintf(p.name, sizeof p.name, "%s", card().name.c_str());
  p.totalGlobalMem = card().memory;
  p.sharedMemPerBlock = kShared;
  p.sharedMemPerBlockOptin = card().shared_opt_in;
  p.sharedMemPerMultiprocessor = card().shared_of_sm;
  p.reservedSharedMemPerBlock = 1 << 10;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = kMaxThreads;
  p.maxThreadsPerMultiProcessor = card().threads_of_sm;
  p.maxBlocksPerMultiProcessor = card().blocks_of_sm;
  const int block[] = {1024, 1024, 64}, grid[] = {0x7fffffff, 65535, 65535};
  memcpy(p.maxThreadsDim, block, sizeof block);
  memcpy(p.maxGridSize, grid, sizeof grid);
  p.totalConstMem = 64 << 10;
  p.memPitch = 0x7fffffff;
  p.textureAlignment = 512;
  p.major = card().major;
  p.minor = card().minor;
  p.multiProcessorCount = kMultiprocessors;
  p.l2CacheSize = 50 << 20;
  p.memoryBusWidth = 5120;
  p.asyncEngineCount = 3;
  p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = p.streamPrioritiesSupported = 1;
  p.cooperativeLaunch = p.managedMemory = p.clusterLaunch = p.memoryPoolsSupported = p.hostRegisterSupported = 1;
  p.globalL1CacheSupported = p.localL1CacheSupported = p.computePreemptionSupported = 1;
}

// The attributes that libtorch queries; any other one is reported as not modelled.
bool attribute(const cudaDeviceProp &p, cudaDeviceAttr attr, int *value) {
  switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; return true;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); return true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); return true;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = static_cast<int>(p.sharedMemPerMultiprocessor); return true;
    case cudaDevAttrReservedSharedMemoryPerBlock: *value = static_cast<int>(p.reservedSharedMemPerBlock); return true;
    case cudaDevAttrWarpSize: *value = p.warpSize; return true;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; return true;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = p.regsPerMultiprocessor; return true;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; return true;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; return true;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = p.maxBlocksPerMultiProcessor; return true;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; return true;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; return true;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; return true;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; return true;
    case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; return true;
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; return true;
    case cudaDevAttrCooperativeLaunch: *value = p.cooperativeLaunch; return true;
    case cudaDevAttrMemoryPoolsSupported: *value = p.memoryPoolsSupported; return true;
    default: return false;
  }
}

}  // namespace

DRY_API const char *cudaGetErrorName(cudaError_t error) { return named(error).name; }
DRY_API const char *cudaGetErrorString(cudaError_t error) { return named(error).text; }

DRY_API cudaError_t cudaPeekAtLastError() { return last_error(); }

DRY_API cudaError_t cudaGetLastError() {
  cudaError_t e = last_error();
  last_error() = cudaSuccess;
  return e;
}

DRY_API cudaError_t cudaGetDeviceCount(int *count) {
  *count = 0;
  if (card().driver < CUDART_VERSION / 1000 * 1000) return last_error() = cudaErrorInsufficientDriver;
  *count = card().devices;
  return *count > 0 ? cudaSuccess : last_error() = cudaErrorNoDevice;
}

DRY_API cudaError_t cudaGetDevice(int *device) {
  *device = current_device();
  return cudaSuccess;
}

DRY_API cudaError_t cudaSetDevice(int device) {
  return call([&](State &) {
    if (device < 0 || device >= kDevices) return cudaErrorInvalidDevice;
    current_device() = device;
    return cudaSuccess;
  });
}

DRY_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
  if (device < 0 || device >= kDevices) return last_error() = cudaErrorInvalidDevice;
  fill(*p);
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int) {
  cudaDeviceProp p;
  fill(p);
  *value = 0;
  if (!attribute(p, attr, value)) unknown("cudaDeviceGetAttribute " + std::to_string(attr));
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int) {
  snprintf(id, static_cast<size_t>(size), "0000:00:00.0");
  return cudaSuccess;
}

DRY_API cudaError_t cudaProfilerStart(void) {
  report("eager", "profiler", "start");
  return cudaSuccess;
}

DRY_API cudaError_t cudaProfilerStop(void) {
  report("eager", "profiler", "stop");
  return cudaSuccess;
}

DRY_API cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
  *can = 0;
  return cudaSuccess;
}

DRY_API cudaError_t cudaDriverGetVersion(int *version) {
  *version = card().driver;
  return cudaSuccess;
}

DRY_API cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

// A step uses no functions of the driver API: each is reported as missing from this driver.
DRY_API cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned, unsigned long long,
                                                     cudaDriverEntryPointQueryResult *found) {
  unknown(std::string("driver: ") + symbol);
  *function = nullptr;
  if (found != nullptr) *found = cudaDriverEntryPointSymbolNotFound;
  return last_error() = cudaErrorSymbolNotFound;
}
