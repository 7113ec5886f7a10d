#!/bin/sh
# make demo: trains on the built-in emoji set into run/demo, draws samples, and says what came of it.
# Further arguments go to `iddpm train`. Run again, it takes up where it stood, or only draws.
set -eu
cd "$(dirname "$0")/.."
run=run/demo
samples=$run/samples

if [ -e "$run/done" ]; then
  echo "$run is trained already; remove it to train afresh" >&2
elif [ -n "$(ls "$run/checkpoints" 2>/dev/null)" ]; then
  build/iddpm resume "$run"
  touch "$run/done"
else
  rm -rf "$run" # an attempt that ended before its first checkpoint
  build/iddpm train --run-dir "$run" "$@"
  touch "$run/done"
fi
build/iddpm sample "$run" --num-samples 64 -o "$samples"

# Columns are looked up by name; a step without a value for one leaves it empty.
awk -F, -v run="$run" -v samples="$samples" '
  NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  $column["loss"] != "" { last = $column["loss"]; step = $column["step"]; if (first == "") first = last }
  END {
    printf "\nloss       %.4f at first, %.4f at step %d\n", first, last, step
    printf "run        %s: config.json, log.jsonl, progress.csv, TensorBoard events\n", run
    printf "checkpoint %s/checkpoints\nsamples    %s\n", run, samples
  }' "$run/progress.csv"
