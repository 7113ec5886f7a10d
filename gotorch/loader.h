// Binds the functions of csrc/iddpm.h and csrc/iddpm_cuda.h at run time.
#pragma once

// Loads libtorch from the folder `libtorch` (NULL: wherever libiddpm.so itself
// finds it), then libiddpm.so, and binds every function of the ABI. Returns
// NULL, or a message on the C heap.
char *gt_loader_open(const char *libtorch);

// The same for libtorch_cuda.so, libiddpm_cuda.so and csrc/iddpm_cuda.h. It must
// run before anything else asks torch for CUDA.
char *gt_loader_open_cuda(const char *libtorch);

// Whether NVIDIA's driver can be opened: what nothing of CUDA works without.
int gt_loader_has_driver(void);
