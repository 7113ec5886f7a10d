#!/bin/sh
# What only a GPU shows, on a machine that builds nothing: `make bundle` elsewhere, unpack build/bundle.tar.gz in
# this tree's build/ and run this. It takes the libtorch that LIBTORCH names, or else an installed Python torch
# of the pinned version. DEVICE=cpu tries the script itself on a machine without a GPU, all but the operators.
set -eu

DEVICE=${DEVICE:-cuda}
scripts=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$scripts/../build" && pwd)
if [ -z "${LIBTORCH:-}" ] && [ ! -e "$build/libtorch" ]; then
  LIBTORCH=$(python3 "$scripts/libtorch.py" --cuda-run)
  export LIBTORCH
fi
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

say() { printf '\n== %s\n' "$*"; }

# A network with all that a run can have, small enough to be over in seconds.
network="--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --num-heads 2
  --learn-sigma --dropout 0.1 --class-cond --diffusion-steps 100 --noise-schedule cosine --batch-size 8 --microbatch 4
  --lr 1e-3 --ema-rate 0.9,0.99 --schedule-sampler loss-second-moment --log-interval 5"

# exact NAME FLAGS...: a run that was stopped half-way ends in the same file as one that was not.
exact() {
  name=$1; shift
  say "resume, bit for bit: $name"
  for run in whole half; do
    steps=20; [ $run = whole ] || steps=10
    "$build/iddpm" train --device "$DEVICE" --deterministic $network "$@" --steps $steps --run-dir "$runs/$name-$run" >/dev/null
  done
  "$build/iddpm" resume "$runs/$name-half" --device "$DEVICE" --steps 20 >/dev/null
  cmp "$runs/$name-whole/checkpoints/ckpt-000020.pt" "$runs/$name-half/checkpoints/ckpt-000020.pt"
  echo "equal"
}

if [ "$DEVICE" = cuda ]; then
  say "operators"
  "$build/test-cuda" -test.v -test.run CUDA
  "$build/test-cuda-evaluate" -test.v -test.run CUDA
fi
exact fp32 --precision fp32
exact bf16 --precision bf16
exact fp16 --precision fp16
exact checkpointing --precision bf16 --use-checkpoint

# What a GPU replays must be what it does operator by operator.
say "recorded or not, bit for bit"
"$build/iddpm" train --device "$DEVICE" --deterministic $network --precision bf16 --no-cuda-graphs --steps 20 --run-dir "$runs/bf16-plain" >/dev/null
for run in whole plain; do
  "$build/iddpm" export "$runs/bf16-$run" --ema none -o "$runs/$run.safetensors" >/dev/null
done
cmp "$runs/whole.safetensors" "$runs/plain.safetensors"
echo "equal"

# The second batch replays what the first has recorded.
say "a later batch, bit for bit"
for first in 0 8; do
  "$build/iddpm" sample "$runs/bf16-whole" --device "$DEVICE" --first-sample $first --num-samples $((16 - first)) --batch-size 8 \
    --timestep-respacing 20 -o "$runs/from-$first" >/dev/null
done
python3 - "$runs"/from-0/samples_*.npz "$runs"/from-8/samples_*.npz <<'END'
import sys, zipfile
all, second = (zipfile.ZipFile(path).read("arr_0.npy") for path in sys.argv[1:])
size = 8 * 16 * 16 * 3
sys.exit(len(second) < size or all[-size:] != second[-size:])
END
echo "equal"

say "samples and bits/dim"
"$build/iddpm" sample "$runs/bf16-whole" --device "$DEVICE" --num-samples 16 -o "$runs/samples"
"$build/iddpm" sample "$runs/bf16-whole" --device "$DEVICE" --num-samples 16 --use-ddim --timestep-respacing ddim10 -o "$runs/ddim"
"$build/iddpm" nll "$runs/bf16-whole" --device "$DEVICE" --num-samples 8 -o "$runs/nll"
say "all is well"
