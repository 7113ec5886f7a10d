// Compiles a kernel for compute capability 9.0, as cuDNN does for its attention, after loading CUDA as iddpm does:
// nvrtc_test LIBNVRTC. It runs on the stand-in GPU, since NVRTC needs no GPU.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader.h"

typedef struct _nvrtcProgram *nvrtcProgram;

static void *must(void *p, const char *what) {
  if (p != NULL) return p;
  fprintf(stderr, "%s: %s\n", what, dlerror());
  exit(1);
}

static void must_load(char *error) {
  if (error == NULL) return;
  fprintf(stderr, "%s\n", error);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  must_load(gt_loader_open(NULL));
  must_load(gt_loader_open_cuda(NULL));

  void *nvrtc = must(dlopen(argv[1], RTLD_NOW), "dlopen");
  int (*create)(nvrtcProgram *, const char *, const char *, int, const char *const *, const char *const *) =
      must(dlsym(nvrtc, "nvrtcCreateProgram"), "dlsym");
  int (*compile)(nvrtcProgram, int, const char *const *) = must(dlsym(nvrtc, "nvrtcCompileProgram"), "dlsym");
  int (*get_log)(nvrtcProgram, char *) = must(dlsym(nvrtc, "nvrtcGetProgramLog"), "dlsym");
  int (*get_log_size)(nvrtcProgram, size_t *) = must(dlsym(nvrtc, "nvrtcGetProgramLogSize"), "dlsym");
  int (*get_cubin_size)(nvrtcProgram, size_t *) = must(dlsym(nvrtc, "nvrtcGetCUBINSize"), "dlsym");

  nvrtcProgram program;
  const char *architecture = "--gpu-architecture=sm_90";
  create(&program, "__global__ void k(float *x) { x[0] = __sinf(x[1]); }", "k.cu", 0, NULL, NULL);
  int error = compile(program, 1, &architecture);
  size_t size = 0;
  if (error != 0) {
    get_log_size(program, &size);
    char *log = must(calloc(1, size + 1), "calloc");
    get_log(program, log);
    fprintf(stderr, "nvrtcCompileProgram: error %d: %s\n", error, log);
    return 1;
  }
  get_cubin_size(program, &size);
  return size > 0 ? 0 : 1;
}
