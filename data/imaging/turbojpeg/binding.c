// The library is opened at run time, so that the program starts without it.
#include "binding.h"

#include <dlfcn.h>
#include <stddef.h>

static struct {
  void *(*init)(void);
  int (*destroy)(void *);
  int (*header)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *);
  int (*decode)(void *, const unsigned char *, unsigned long, unsigned char *, int, int, int, int, int);
  char *(*message)(void *);
} api;

static const struct {
  const char *name;
  size_t at;
} symbols[] = {
    {"tjInitDecompress", offsetof(__typeof__(api), init)},
    {"tjDestroy", offsetof(__typeof__(api), destroy)},
    {"tjDecompressHeader3", offsetof(__typeof__(api), header)},
    {"tjDecompress2", offsetof(__typeof__(api), decode)},
    {"tjGetErrorStr2", offsetof(__typeof__(api), message)},
};

const char *turbojpeg_load(const char *name) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *symbol = dlsym(library, symbols[i].name);
    if (!symbol) return dlerror();
    *(void **)((char *)&api + symbols[i].at) = symbol;
  }
  return NULL;
}

void *turbojpeg_init(void) { return api.init(); }

void turbojpeg_destroy(void *handle) { api.destroy(handle); }

int turbojpeg_header(void *handle, const unsigned char *file, unsigned long size, int *width, int *height,
                     int *subsampling, int *colourspace) {
  return api.header(handle, file, size, width, height, subsampling, colourspace);
}

int turbojpeg_decode(void *handle, const unsigned char *file, unsigned long size, unsigned char *pixels, int width,
                     int pitch, int height, int format, int flags) {
  return api.decode(handle, file, size, pixels, width, pitch, height, format, flags);
}

const char *turbojpeg_message(void *handle) { return api.message(handle); }
