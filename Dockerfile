# Two images of one program:
#
#   docker build -t iddpm .                     for NVIDIA GPUs: docker run --gpus all iddpm train
#   docker build -t iddpm:cpu --target cpu .    for any machine: docker run iddpm:cpu train
#
# Runs are kept in the volume /runs: -v "$PWD/runs:/runs". The working directory
# is its parent, so the default run folder, runs/001-emoji, is the same path in
# the container and outside.
#
# CUDA's libraries come from PyPI just as libtorch does, and the driver is the
# host's, so both images stand on plain Debian. Another base has to have apt and
# a Go of at least 1.21, which then fetches the Go that go.mod asks for, or a Go
# of its own.

ARG BASE=debian:trixie-slim
ARG CUDA_BASE=debian:trixie-slim

FROM ${BASE} AS tools
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make python3 python3-pip \
      $(command -v go >/dev/null || echo golang-go) \
 && rm -rf /var/lib/apt/lists/*
ENV GOTOOLCHAIN=auto

# Half a gigabyte, fetched again only when its pins change.
FROM tools AS libtorch
WORKDIR /src
COPY LIBTORCH_VERSION ./
COPY scripts/libtorch.py scripts/
COPY scripts/wheels scripts/wheels/
RUN python3 scripts/libtorch.py

FROM libtorch AS libtorch-cuda
RUN python3 scripts/libtorch.py --cuda-run && python3 scripts/libtorch.py --cuda-build

FROM libtorch AS build
COPY go.mod go.sum ./
COPY gotorch/go.mod gotorch/go.sum gotorch/
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION="${VERSION}" && docker/collect.sh cpu /image

FROM libtorch-cuda AS build-cuda
COPY --from=build /src ./
RUN make build/nvidia && make -j"$(nproc)" build/libiddpm_cuda.so && docker/collect.sh cuda /image

FROM ${BASE} AS cpu
COPY docker/set-up.sh /tmp/
RUN /tmp/set-up.sh && rm /tmp/set-up.sh
COPY --from=build /image /opt/iddpm
USER iddpm
WORKDIR /
VOLUME /runs
ENTRYPOINT ["iddpm"]

FROM ${CUDA_BASE} AS cuda
# What the NVIDIA container toolkit looks at when it mounts the driver.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY docker/set-up.sh /tmp/
RUN /tmp/set-up.sh && rm /tmp/set-up.sh
COPY --from=build-cuda /image /opt/iddpm
USER iddpm
WORKDIR /
VOLUME /runs
ENTRYPOINT ["iddpm"]
