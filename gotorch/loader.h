// Binds the functions of csrc/iddpm.h and csrc/iddpm_cuda.h at run time.
#pragma once

#include <stdint.h>

// Identifies the calling OS thread; not 0. A thread that starts later may get the number
// of one that has ended.
uintptr_t gt_thread(void);

// Loads libtorch from the folder `libtorch` (NULL: where libiddpm.so's own search
// path finds it), then libiddpm.so, and binds every function of the ABI. Returns
// NULL, or an error message on the C heap.
char *gt_loader_open(const char *libtorch);

// The same for libtorch_cuda.so, libiddpm_cuda.so and csrc/iddpm_cuda.h. It must
// run before libtorch is first queried about CUDA.
char *gt_loader_open_cuda(const char *libtorch);

// The state of NVIDIA's driver, read before any CUDA library is loaded.
typedef struct gt_driver {
  int version;  // the newest CUDA version that it supports, 1000 major + 10 minor; 0: no driver
  int error;    // cuInit's CUresult
  const char *error_text;
  int devices;  // number of GPUs that this process may use
} gt_driver;

gt_driver gt_loader_driver(void);

// A GPU's name and compute capability, read without creating a context, which would
// allocate GPU memory.
typedef struct gt_driver_device {
  char name[256];
  int major, minor;  // compute capability
} gt_driver_device;

// Returns a CUresult.
int gt_loader_device(int index, gt_driver_device *out);
