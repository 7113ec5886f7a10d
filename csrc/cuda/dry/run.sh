#!/bin/sh
# Runs a command with the dry-run GPU in place of NVIDIA's libraries. They are loaded before all others, for
# libtorch finds the real ones by a path of its own. DRY_GPU_REPORT names the report, DRY_GPU_STRICT=1 ends the
# program at the first violation, DRY_GPU_MEMORY is how many MiB the GPU has.
folder=$(cd "$(dirname "$0")" && pwd)
exec env LD_PRELOAD="$(printf '%s:' "$folder"/lib*.so*)${LD_PRELOAD:-}" "$@"
