// Binds the functions of csrc/iddpm.h and csrc/iddpm_cuda.h at run time.
#pragma once

// Loads libtorch from the folder `libtorch` (NULL: wherever libiddpm.so itself
// finds it), then libiddpm.so, and binds every function of the ABI. Returns
// NULL, or a message on the C heap.
char *gt_loader_open(const char *libtorch);

// The same for libtorch_cuda.so, libiddpm_cuda.so and csrc/iddpm_cuda.h. It must
// run before anything else asks torch for CUDA.
char *gt_loader_open_cuda(const char *libtorch);

// What NVIDIA's driver says of itself, before anything of CUDA is loaded.
typedef struct gt_driver {
  int version;  // the newest CUDA that it supports, 1000 major + 10 minor; 0: there is no driver
  int error;    // cuInit's CUresult
  const char *error_text;
  int devices;  // the GPUs that this process may use
} gt_driver;

gt_driver gt_loader_driver(void);

// What the driver says of one GPU, without the context that would take its memory.
typedef struct gt_driver_device {
  char name[256];
  int major, minor;  // compute capability
} gt_driver_device;

// Returns a CUresult.
int gt_loader_device(int index, gt_driver_device *out);
