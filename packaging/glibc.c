// Lets a program that is linked on a newer system run with glibc 2.28, as manylinux_2_28
// promises. It replaces the newest versions of glibc's functions, which the linker would
// choose, by the ones that every glibc has: hidden symbols of the file itself, that jump
// to the older version. In 2.34 glibc merged its libraries into one, and most of these
// functions changed nothing but their version.
//
// Linked with -DPROGRAM into the program, with -DCUDA into the CUDA library, and without them into
// the other one. scripts/wheel.py
// checks the result and names the symbols that are still too new: add them here.
#if !defined(__x86_64__)
#error "only for x86-64: on other processors build the wheel on the oldest system"
#endif

// glibc 2.32 has this flag, by which libstdc++ saves atomic instructions while there is
// one thread. Zero means that there may be more.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// Defines a hidden function that jumps to the version of glibc's function of that name.
#define OLDER(name, version)                                                      \
  __asm__(".symver older_" #name "," #name "@" version "\n"                       \
          ".text\n.globl " #name "\n.hidden " #name "\n.type " #name ",@function\n" \
          #name ": jmp *older_" #name "@GOTPCREL(%rip)\n.size " #name ",.-" #name "\n")

#if defined(CUDA) || defined(PROGRAM)

OLDER(dlopen, "GLIBC_2.2.5");
OLDER(dlsym, "GLIBC_2.2.5");

#endif

#ifndef PROGRAM

OLDER(pow, "GLIBC_2.2.5");

#else

#include <stddef.h>

OLDER(dladdr, "GLIBC_2.2.5");
OLDER(dlclose, "GLIBC_2.2.5");
OLDER(dlerror, "GLIBC_2.2.5");
OLDER(pthread_attr_getstack, "GLIBC_2.2.5");
OLDER(pthread_attr_getstacksize, "GLIBC_2.2.5");
OLDER(pthread_create, "GLIBC_2.2.5");
OLDER(pthread_getattr_np, "GLIBC_2.2.5");
OLDER(pthread_getspecific, "GLIBC_2.2.5");
OLDER(pthread_join, "GLIBC_2.2.5");
OLDER(pthread_key_create, "GLIBC_2.2.5");
OLDER(pthread_key_delete, "GLIBC_2.2.5");
OLDER(pthread_mutex_consistent, "GLIBC_2.12");
OLDER(pthread_mutexattr_destroy, "GLIBC_2.2.5");
OLDER(pthread_mutexattr_init, "GLIBC_2.2.5");
OLDER(pthread_mutexattr_setpshared, "GLIBC_2.2.5");
OLDER(pthread_mutexattr_setrobust, "GLIBC_2.12");
OLDER(pthread_setspecific, "GLIBC_2.2.5");
OLDER(pthread_sigmask, "GLIBC_2.2.5");

// libresolv's name before 2.34.
__asm__(".symver older_res_search,__res_search@GLIBC_2.2.5\n"
        ".text\n.globl res_search\n.hidden res_search\n.type res_search,@function\n"
        "res_search: jmp *older_res_search@GOTPCREL(%rip)\n.size res_search,.-res_search\n");

// Before 2.33 this was an inline function of the headers.
int older_fxstat(int version, int fd, void *result);
__asm__(".symver older_fxstat,__fxstat@GLIBC_2.2.5");
__attribute__((visibility("hidden"))) int fstat(int fd, void *result) { return older_fxstat(1, fd, result); }

// Before 2.34 the program passed a function that runs its constructors; newer start files
// pass none.
typedef int start(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(int, char **, char **),
                  void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
start older_start;
__asm__(".symver older_start,__libc_start_main@GLIBC_2.2.5");

extern void (*__init_array_start[])(int, char **, char **) __attribute__((visibility("hidden")));
extern void (*__init_array_end[])(int, char **, char **) __attribute__((visibility("hidden")));

static void construct(int argc, char **argv, char **env) {
  size_t n = (size_t)(__init_array_end - __init_array_start);
  for (size_t i = 0; i < n; ++i) __init_array_start[i](argc, argv, env);
}

__attribute__((visibility("hidden"))) int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                                                            void (*init)(int, char **, char **), void (*fini)(void),
                                                            void (*rtld_fini)(void), void *stack_end) {
  return older_start(main, argc, argv, init != NULL ? init : construct, fini, rtld_fini, stack_end);
}

#endif
