#!/bin/sh
# Builds the image for CPUs, and trains, samples and resumes in it, if docker, podman or buildah works here and
# already has the base image $BASE. Otherwise it reports what was not tested.
set -eu
cd "$(dirname "$0")/.."
base=${BASE:-$(sed -n 's/^ARG BASE=//p' Dockerfile)}

builder=
for candidate in docker podman buildah; do
  if command -v $candidate >/dev/null && $candidate info >/dev/null 2>&1; then
    builder=$candidate
    break
  fi
done
if [ -z "$builder" ]; then
  echo "ci.sh: not tested: no docker, podman or buildah works here, so no image is built (docker/docker_test.go runs its content)"
  exit 0
fi
if ! $builder inspect --type image "$base" >/dev/null 2>&1; then
  echo "ci.sh: not tested: $builder has no image $base, so no image is built"
  exit 0
fi
make image-cpu BUILDER=$builder IMAGE_FLAGS="--build-arg BASE=$base --build-arg CUDA_BASE=$base ${IMAGE_FLAGS:-}"
if [ $builder = buildah ]; then
  echo "ci.sh: the image is built, and not tested: buildah cannot run it"
  exit 0
fi

runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
chmod 777 "$runs" # the image's uid 1000 is not the CI user
in_image() { $builder run --rm --network none --read-only -v "$runs:/runs" iddpm:cpu "$@"; }
in_image --version
in_image train --steps 2 --image-size 8 --num-channels 32 --num-res-blocks 1 --channel-mult 1 --attention-resolutions 8 --num-heads 1 \
  --diffusion-steps 8 --noise-schedule cosine --batch-size 4 --threads 1
in_image sample runs/001-custom --num-samples 2
in_image resume runs/001-custom --steps 3
test -s "$runs/001-custom/checkpoints/ckpt-000003.pt"
echo "ci.sh: the image trains, samples and resumes"
