// A program linked to libtorch loads 400 MB even to print its help, and fails in
// the dynamic loader if libtorch is missing. So each function of the ABI is a jump
// through a pointer, like a PLT entry, and the first tensor sets the pointers.
#define _GNU_SOURCE
#include "loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iddpm.h"
#include "iddpm_cuda.h"

static void gt_unbound(void) {
  fputs("gotorch: libtorch is not loaded: call gotorch.LoadLibrary, or LoadCUDA, first\n", stderr);
  abort();
}

#if defined(__x86_64__)
#define GT_JUMP(name) "jmp *gt_bound_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define GT_JUMP(name)                       \
  "adrp x16, gt_bound_" #name "\n"          \
  "ldr x16, [x16, :lo12:gt_bound_" #name "]\n" \
  "br x16\n"
#else
#error "gotorch has no jump for this processor yet: add one line here"
#endif

#define GT_STRUCT(name, bytes)
#define GT_API(ret, name, args)                                            \
  void *gt_bound_##name __attribute__((visibility("hidden"))) = gt_unbound; \
  __asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name       \
          ", %function\n" #name ":\n" GT_JUMP(name) ".size " #name ", .-" #name "\n");
#include "iddpm.h"
#include "iddpm_cuda.h"
#undef GT_API

uintptr_t gt_thread(void) {
  static _Thread_local char token;
  return (uintptr_t)&token;
}

struct binding {
  const char *name;
  void **bound;
};

#define GT_API(ret, name, args) {#name, &gt_bound_##name},
static const struct binding gt_table[] = {
#include "iddpm.h"
};
static const struct binding gt_cuda_table[] = {
#include "iddpm_cuda.h"
};
#undef GT_API

// The headers as text, one declaration after the other, with the sizes of structs: a
// library that was built from other declarations would misread our arguments.
#undef GT_STRUCT
#define GT_STRUCT(name, bytes) #name " " #bytes ";"
#define GT_API(ret, name, args) #ret " " #name #args ";"
static const char gt_declarations[] =
#include "iddpm.h"
    ;
static const char gt_cuda_declarations[] =
#include "iddpm_cuda.h"
    ;
#undef GT_API
#undef GT_STRUCT

#define LENGTH(table) (sizeof(table) / sizeof *(table))

static char *format(const char *what, const char *why) {
  char *s = NULL;
  if (asprintf(&s, "%s: %s", what, why) < 0) abort();
  return s;
}

// Opens folder/lib/name, or name on the program's own search path.
static char *open_library(const char *folder, const char *name, void **handle) {
  char *path = NULL;
  if (folder != NULL && asprintf(&path, "%s/lib/%s", folder, name) < 0) abort();
  *handle = dlopen(path != NULL ? path : name, RTLD_NOW | RTLD_GLOBAL);
  free(path);
  return *handle != NULL ? NULL : format(name, dlerror());
}

// libgomp's threads spin for milliseconds at the end of every parallel region. If
// another program uses a core, each region then waits for the scheduler, and a step
// is ten times slower or more. A hundredth of that spin is as fast on an idle
// machine. libgomp reads the variable once, when it is loaded.
static void spin_briefly(void) {
  if (getenv("OMP_WAIT_POLICY") == NULL) setenv("GOMP_SPINCOUNT", "3000", /*overwrite=*/0);
}

// Opens one of our own libraries, compares the declarations that it was built with
// (its string `symbol`) to ours, and binds the functions of its header.
static char *bind(const char *library, const char *symbol, const char *declarations, const struct binding *table,
                  size_t n) {
  void *handle;
  char *error = open_library(NULL, library, &handle);
  if (error != NULL) return error;
  const char *built = dlsym(handle, symbol);
  if (built == NULL || strcmp(built, declarations) != 0) return format(library, "is of another build than this program");
  for (size_t i = 0; i < n; ++i) {
    void *f = dlsym(handle, table[i].name);
    if (f == NULL) return format(library, dlerror());
    *table[i].bound = f;
  }
  return NULL;
}

char *gt_loader_open(const char *libtorch) {
  void *handle;
  spin_briefly();
  char *error;
  if (libtorch != NULL && (error = open_library(libtorch, "libtorch_cpu.so", &handle)) != NULL) return error;
  return bind("libiddpm.so", "gt_declarations", gt_declarations, gt_table, LENGTH(gt_table));
}

// Opens the libraries of a folder whose names begin with the prefix. It ignores errors:
// the code that needs the library reports them.
static void preload(const char *folder, const char *prefix) {
  DIR *files = opendir(folder);
  if (files == NULL) return;
  for (struct dirent *file; (file = readdir(files)) != NULL;) {
    char *path;
    if (strncmp(file->d_name, prefix, strlen(prefix)) != 0) continue;
    if (asprintf(&path, "%s/%s", folder, file->d_name) < 0) abort();
    dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    free(path);
  }
  closedir(files);
}

// cuDNN compiles some kernels at run time, such as its attention for compute capability
// 9.0 and newer. It finds libnvrtc by its RUNPATH, but libnvrtc has none and opens
// libnvrtc-builtins by its bare name, which succeeds only if it is already loaded. Both
// come from libcudart's folder, so that their versions agree.
static void preload_nvrtc(void) {
  Dl_info cudart;
  void *f = dlsym(RTLD_DEFAULT, "cudaGetDeviceCount");
  const char *slash = f != NULL && dladdr(f, &cudart) != 0 ? strrchr(cudart.dli_fname, '/') : NULL;
  char *folder = slash != NULL ? strndup(cudart.dli_fname, (size_t)(slash - cudart.dli_fname)) : NULL;
  if (folder == NULL) return;
  preload(folder, "libnvrtc-builtins.so.");
  preload(folder, "libnvrtc.so.");
  free(folder);
}

char *gt_loader_open_cuda(const char *libtorch) {
  void *handle;
  char *error;
  if (libtorch != NULL && (error = open_library(libtorch, "libtorch_cuda.so", &handle)) != NULL) return error;
  error = bind("libiddpm_cuda.so", "gt_cuda_declarations", gt_cuda_declarations, gt_cuda_table, LENGTH(gt_cuda_table));
  if (error == NULL) preload_nvrtc();
  return error;
}

gt_driver gt_loader_driver(void) {
  gt_driver d = {0};
  void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (cuda == NULL) return d;
  int (*version)(int *) = dlsym(cuda, "cuDriverGetVersion");
  int (*init)(unsigned) = dlsym(cuda, "cuInit");
  int (*count)(int *) = dlsym(cuda, "cuDeviceGetCount");
  int (*text)(int, const char **) = dlsym(cuda, "cuGetErrorString");
  if (version == NULL || init == NULL || count == NULL || version(&d.version) != 0) return d;
  if ((d.error = init(0)) == 0) d.error = count(&d.devices);
  if (text == NULL || text(d.error, &d.error_text) != 0) d.error_text = "unknown error";
  return d;
}

int gt_loader_device(int index, gt_driver_device *out) {
  enum { kNotFound = 500, kMajor = 75, kMinor = 76 };  // CUresult, and two CUdevice_attribute
  void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (cuda == NULL) return kNotFound;
  int (*get)(int *, int) = dlsym(cuda, "cuDeviceGet");
  int (*name)(char *, int, int) = dlsym(cuda, "cuDeviceGetName");
  int (*attribute)(int *, int, int) = dlsym(cuda, "cuDeviceGetAttribute");
  int device, error;
  if (get == NULL || name == NULL || attribute == NULL) return kNotFound;
  if ((error = get(&device, index)) != 0 || (error = name(out->name, sizeof out->name, device)) != 0) return error;
  if ((error = attribute(&out->major, kMajor, device)) != 0) return error;
  return attribute(&out->minor, kMinor, device);
}
