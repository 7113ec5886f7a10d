#!/bin/sh
# Runs a command with the stand-in GPU in place of NVIDIA's libraries. They are preloaded, because libtorch finds
# the real ones by its own path. DRY_GPU_REPORT is the report's file, DRY_GPU_STRICT=1 ends the program at the first
# violation. DRY_GPU_NAME, DRY_GPU_CAPABILITY (such as 7.5), DRY_GPU_MEMORY (in MiB) and DRY_GPU_DRIVER (the CUDA
# version that it supports, such as 12.4) select another card than an H100.
# Its results are hypotheses until a real GPU has run the code.
folder=$(cd "$(dirname "$0")" && pwd)
exec env LD_PRELOAD="$(printf '%s:' "$folder"/lib*.so*)${LD_PRELOAD:-}" "$@"
