// Of the driver, what libtorch and NVRTC look for by name.
#include <cuda.h>

#include "dry.h"

// The context is there from the start: nothing is saved by leaving it out.
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

// NVRTC looks for the driver's internals, and does without.
DRY_API CUresult cuGetExportTable(const void **table, const CUuuid *) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

DRY_API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
