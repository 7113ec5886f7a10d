#!/bin/sh
# Gathers what the program needs at run time out of build/: collect.sh cpu|cuda DEST
#
# DEST keeps the layout that the run paths inside the libraries expect:
# libtorch/lib beside nvidia/*/lib, as torch and nvidia lie in site-packages.
set -eu
kind=$1
dest=$2
cd "$(dirname "$0")/.."
wheels=$(dirname "$(readlink -f build/libtorch)")

mkdir -p "$dest/libtorch/lib" "$dest/nvidia/cu13/lib" "$dest/licenses"
cp build/iddpm build/libiddpm.so "$dest"
cp build/libtorch/version.py "$dest/libtorch"
cp LICENSE NOTICE "$dest/licenses"

case $kind in
cpu)
  for name in libtorch_cpu.so libc10.so libgomp.so.1; do
    cp "$wheels/torch/lib/$name" "$dest/libtorch/lib"
  done
  for name in libcudart.so.13 libcupti.so.13; do
    cp "$wheels/nvidia/cu13/lib/$name" "$dest/nvidia/cu13/lib"
  done
  ;;
cuda)
  cp build/libiddpm_cuda.so "$dest"
  cp "$wheels"/torch/lib/*.so* "$dest/libtorch/lib"
  rm "$dest"/libtorch/lib/libtorch_python.so "$dest"/libtorch/lib/libshm.so
  for folder in "$wheels"/nvidia/*/lib; do
    to=$dest/nvidia/$(basename "$(dirname "$folder")")/lib
    mkdir -p "$to"
    cp "$folder"/*.so* "$to"
  done
  ;;
*)
  echo "collect.sh: want cpu or cuda, got $kind" >&2
  exit 2
  ;;
esac

# The licences of the wheels whose files are shipped travel with them.
(cd "$wheels" && find torch-*.dist-info nvidia_*.dist-info -iname '*licen[cs]e*' -type f -exec cp --parents {} "$dest/licenses" \;)
