#!/bin/sh
# Fails if the base image lacks libraries that the program was linked with, as a base older than the build's does.
set -u
programs=${1:-/opt/iddpm}
# NVIDIA's driver comes with the host.
missing=$(ldd "$programs/iddpm" "$programs"/libiddpm*.so 2>&1 | grep 'not found' | grep -v -e libcuda.so -e libnvidia-ml.so)
test -z "$missing" && exit 0
{
  echo "check.sh: this base image, with glibc $(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/glibc //'), lacks what iddpm was built with:"
  echo "$missing" | sort -u
  echo "set BASE and CUDA_BASE to the same image, or CUDA_BASE to a newer one"
} >&2
exit 1
