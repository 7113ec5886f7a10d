# Two images of one program:
#
#   make image        iddpm, for NVIDIA GPUs: docker build -t iddpm .
#   make image-cpu    iddpm:cpu, for any machine: docker build -t iddpm:cpu --target cpu .
#
# docs/containers.md says how to run them. Runs are kept in the volume /runs. The working
# directory is /work, where runs is a link to that volume, so the default run folder,
# runs/001-emoji, is the same path in the container and outside.
#
# CUDA's libraries come from PyPI just as libtorch does, and the driver is the
# host's, so both images stand on plain Debian. Another base has to have apt and
# a Go of at least 1.21, which then fetches the Go that go.mod asks for, or a Go
# of its own.
#
# What changes seldom comes first. Nothing here needs BuildKit: packages of other modules are
# compiled in a layer of their own, since the classic builder refuses cache mounts. That one
# builds all stages up to its target, so those for CUDA are the last.

ARG BASE=debian:trixie-slim@sha256:d7e12182ce18b85b93007c1dedf31f2d29e01ccf3182cc4017c709b6259bc132
ARG CUDA_BASE=debian:trixie-slim@sha256:d7e12182ce18b85b93007c1dedf31f2d29e01ccf3182cc4017c709b6259bc132

FROM ${BASE} AS tools
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make python3 python3-pip \
      $(command -v go >/dev/null || echo golang-go) \
 && rm -rf /var/lib/apt/lists/*
# The tag is the Makefile's: packages compiled with another set would be compiled again.
ENV GOTOOLCHAIN=auto GOFLAGS=-tags=disable_grpc_modules
WORKDIR /src

# Half a gigabyte, fetched again only when its pins change.
FROM tools AS libtorch
COPY LIBTORCH_VERSION ./
COPY scripts/libtorch.py scripts/
COPY scripts/wheels scripts/wheels/
RUN python3 scripts/libtorch.py

FROM libtorch AS csrc
COPY Makefile ./
COPY csrc/*.cc csrc/*.h csrc/
COPY csrc/kernels csrc/kernels/
COPY csrc/gloo csrc/gloo/
RUN make DRIVER= build/libtorch && make -j"$(nproc)" build/libiddpm.so

FROM tools AS modules
COPY go.mod go.sum ./
COPY gotorch/go.mod gotorch/go.sum gotorch/
RUN go mod download

# The list is regenerated at every change, but later layers depend only on its text.
FROM modules AS imports
COPY . .
RUN make --silent imports >/imports && rm -rf .git

FROM modules AS program
COPY --from=imports /imports /
RUN go build $(cat /imports)
# Without .git, which every commit changes, and before VERSION, which an edited document changes too: after either only
# the link is redone. `go list -export` compiles without linking.
COPY --from=imports /src ./
RUN go list -export -deps ./cmd/iddpm >/dev/null
COPY LICENSE .gi[t] /git/
ARG VERSION
RUN make build/iddpm VERSION="${VERSION:-$(docker/version.sh /git)}"

FROM libtorch AS libraries
COPY docker/collect.sh docker/
RUN docker/collect.sh cpu /image libraries

FROM ${BASE} AS cpu
COPY docker/set-up.sh /tmp/
RUN /tmp/set-up.sh && rm /tmp/set-up.sh
COPY --from=libraries /image /opt/iddpm
COPY LICENSE NOTICE /opt/iddpm/licenses/
COPY --from=csrc /src/build/libiddpm.so /opt/iddpm/
COPY --from=program /src/build/iddpm /opt/iddpm/
COPY docker/check.sh /tmp/
RUN /tmp/check.sh && rm /tmp/check.sh
# `container` is what systemd and others look at; a number as user is what Kubernetes can see not to be root.
ENV HOME=/home/iddpm container=oci
USER 1000:1000
WORKDIR /work
VOLUME /runs
ENTRYPOINT ["iddpm"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="iddpm" \
      org.opencontainers.image.description="Improved DDPM on libtorch, for CPUs" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND LicenseRef-NVIDIA-SLA" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM libtorch AS libtorch-cuda
RUN python3 scripts/libtorch.py --cuda-run && python3 scripts/libtorch.py --cuda-build

FROM libtorch-cuda AS libraries-cuda
COPY docker/collect.sh docker/check_cuda.py docker/
RUN docker/collect.sh cuda /image libraries && python3 docker/check_cuda.py /image

FROM libtorch-cuda AS kernels
COPY Makefile ./
COPY csrc/*.h csrc/
COPY csrc/kernels csrc/kernels/
COPY csrc/cuda csrc/cuda/
RUN make DRIVER= build/libtorch build/nvidia && make -j"$(nproc)" build/libiddpm_cuda.so

FROM ${CUDA_BASE} AS cuda
# What the NVIDIA container toolkit looks at when it mounts the driver: CUDA 13 needs driver 580 or newer.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility NVIDIA_REQUIRE_CUDA="cuda>=13.0"
COPY docker/set-up.sh /tmp/
RUN /tmp/set-up.sh && rm /tmp/set-up.sh
COPY --from=libraries-cuda /image /opt/iddpm
COPY LICENSE NOTICE /opt/iddpm/licenses/
COPY --from=csrc /src/build/libiddpm.so /opt/iddpm/
COPY --from=kernels /src/build/libiddpm_cuda.so /opt/iddpm/
COPY --from=program /src/build/iddpm /opt/iddpm/
COPY docker/check.sh /tmp/
RUN /tmp/check.sh && rm /tmp/check.sh
ENV HOME=/home/iddpm container=oci
USER 1000:1000
WORKDIR /work
VOLUME /runs
ENTRYPOINT ["iddpm"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="iddpm" \
      org.opencontainers.image.description="Improved DDPM on libtorch, for NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND LicenseRef-NVIDIA-SLA" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
