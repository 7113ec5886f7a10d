#!/bin/sh
# Fails if the base image lacks libraries that the program was linked with, as a base older than the build's does.
set -u
programs=${1:-/opt/iddpm}
# NVIDIA's driver comes with the host. A library that ldd finds for another one is loaded when its name is needed:
# libiddpm_cuda.so needs libcudart, which libtorch has loaded before.
missing=$(for file in "$programs/iddpm" "$programs"/libiddpm*.so; do
  ldd "$file" 2>&1 | awk '
    / => \// { found[$1] = 1 }
    /not found/ && !/libcuda\.so|libnvidia-ml\.so/ { missing[$0] = $1 }
    END { for (line in missing) if (!(missing[line] in found)) print line }'
done)
test -z "$missing" && exit 0
{
  echo "check.sh: this base image, with glibc $(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/glibc //'), lacks what iddpm was built with:"
  echo "$missing" | sort -u
  echo "set BASE and CUDA_BASE to the same image, or CUDA_BASE to a newer one"
} >&2
exit 1
