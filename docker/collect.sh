#!/bin/sh
# Copies the files that the program needs at run time: collect.sh cpu|cuda DEST [libraries]
#
# DEST has the layout that the run paths inside the libraries expect:
# libtorch/lib next to nvidia/*/lib, like torch and nvidia in site-packages.
# With "libraries", only the wheels' libraries: most of the bytes, and they rarely change.
# Without, also what make has built.
set -eu
kind=${1-} dest=${2-} part=${3-all}
case $kind:${dest:+dest}:$part in
cpu:dest:all | cpu:dest:libraries | cuda:dest:all | cuda:dest:libraries) ;;
*)
  echo "collect.sh: want cpu or cuda, a folder, and optionally the word libraries, got: $*" >&2
  exit 2
  ;;
esac
mkdir -p "$dest"
dest=$(readlink -f "$dest")
cd "$(dirname "$0")/.."
torch=$("${PYTHON:-python3}" scripts/libtorch.py)
wheels=$(dirname "$torch")

mkdir -p "$dest/libtorch/lib" "$dest/nvidia/cu13/lib" "$dest/licenses"
cp "$torch/version.py" "$dest/libtorch"

case $kind in
cpu)
  for name in libtorch_cpu.so libc10.so libgomp.so.1; do
    cp "$torch/lib/$name" "$dest/libtorch/lib"
  done
  for name in libcudart.so.13 libcupti.so.13; do
    cp "$wheels/nvidia/cu13/lib/$name" "$dest/nvidia/cu13/lib"
  done
  ;;
cuda)
  cp "$torch"/lib/*.so* "$dest/libtorch/lib"
  rm "$dest"/libtorch/lib/libtorch_python.so "$dest"/libtorch/lib/libshm.so
  for folder in "$wheels"/nvidia/*/lib; do
    to=$dest/nvidia/$(basename "$(dirname "$folder")")/lib
    mkdir -p "$to"
    for library in "$folder"/*.so*; do
      # Not what nothing that is shipped opens: check_cuda.py looks. Some come with the compiler's wheels.
      case ${library##*/} in
      libnvrtc.alt.so* | libnvrtc-builtins.alt.so*) ;; # NVRTC once more, for callers that ask for it
      libcusolverMg.so* | libcufftw.so* | libnvblas.so*) ;; # several GPUs' solver, and other interfaces
      libnvvm.so* | libnvperf_*.so | libcheckpoint.so | libpcsamplingutil.so) ;; # compilers' and profilers'
      *) cp "$library" "$to" ;;
      esac
    done
  done
  ;;
esac

# Ship the licences of the wheels whose files are shipped.
(cd "$wheels" && find torch-*.dist-info nvidia_*.dist-info -iname '*licen[cs]e*' -type f -exec cp --parents {} "$dest/licenses" \;)

if [ "$part" = all ]; then
  cp build/iddpm build/libiddpm.so "$dest"
  if [ "$kind" = cuda ]; then cp build/libiddpm_cuda.so "$dest"; fi
  cp LICENSE NOTICE "$dest/licenses"
fi
