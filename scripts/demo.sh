#!/bin/sh
# make demo: trains on the smileys of the built-in emoji set in run/demo, generates samples, and prints a summary.
# Further arguments go to `iddpm train`. Run again, it resumes; once trained, it only samples.
set -eu
cd "$(dirname "$0")/.."
run=run/demo

# A run that was killed before its first checkpoint has nothing to resume.
ls "$run"/checkpoints/*.pt >/dev/null 2>&1 || rm -rf "$run"

# docs/study.md compares these settings with others: annealing the learning rate to zero gives cleaner samples. --watch logs the address of a page that shows the run.
# The summary at the end replaces the output of train and sample.
build/iddpm train --run-dir "$run" --auto-resume --preset emoji --classes smileys-emotion --steps 1500 --lr-anneal-steps 1500 \
  --watch "$@" >/dev/null
sampled=$(build/iddpm sample "$run" --num-samples 64 ${SAMPLE_FLAGS:-})

# The first loss of a resumed run is from before the interruption.
awk -F, -v run="$run" '
  NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
  NR == 2 { first = $column["loss"] }
  { last = $column["loss"]; step = $column["step"] }
  END {
    printf "\nloss        %.4f at first, %.4f at step %d\n", first, last, step
    printf "run folder  %s: settings, checkpoints/, samples/, log.jsonl, progress.csv, TensorBoard events\n", run
    printf "watch       build/iddpm watch %s: the loss and the samples by step, in a browser\n", run
  }' "$run/progress.csv"
echo "$sampled"
