// The driver functions that libtorch and gotorch/loader.c look up by name.
#include <cuda.h>

#include <cstdio>

#include "dry.h"

// The primary context always exists.
DRY_API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuCtxGetCurrent(CUcontext *context) {
  static int there;
  *context = reinterpret_cast<CUcontext>(&there);
  return CUDA_SUCCESS;
}

// NVRTC looks for the driver's internal tables, and works without them.
DRY_API CUresult cuGetExportTable(const void **table, const CUuuid *) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

DRY_API CUresult cuInit(unsigned) { return dry::card().devices > 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }

DRY_API CUresult cuDriverGetVersion(int *version) {
  *version = dry::card().driver;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDeviceGetCount(int *count) {
  *count = dry::card().devices;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDeviceGet(CUdevice *device, int index) {
  *device = index;
  return index >= 0 && index < dry::card().devices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

DRY_API CUresult cuDeviceGetName(char *name, int size, CUdevice) {
  snprintf(name, static_cast<size_t>(size), "%s", dry::card().name.c_str());
  return CUDA_SUCCESS;
}

DRY_API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = dry::card().major; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = dry::card().minor; return CUDA_SUCCESS;
    default: dry::unknown("cuDeviceGetAttribute " + std::to_string(attribute)); return CUDA_ERROR_INVALID_VALUE;
  }
}
