# iddpm is built in three steps, each skipped if it is up to date:
#
#   build/libtorch        a link to libtorch, which scripts/libtorch.py finds or downloads
#   build/libiddpm.so     csrc/, the C ABI over libtorch
#   build/iddpm           the program; it loads the other two when it first uses a tensor
#
# On a machine with NVIDIA's driver a fourth step builds build/libiddpm_cuda.so, whose compiler comes from pip.
# `make cuda` builds it on any machine, and runs the program on build/dry-gpu, the stand-in GPU.

GO     ?= go
PYTHON ?= python3
CXX    ?= g++

# This tag excludes gRPC from Google's storage client: 20 MB of the program, and a minute of building.
export GOFLAGS := $(strip $(GOFLAGS) -tags=disable_grpc_modules)

DRIVER := $(wildcard /proc/driver/nvidia/version /dev/dxg)

MODULES  := ./... github.com/wangkuiyi/gotorch/...
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Sub-makes that compile C++ use every core, unless the user already gave a -j.
PARALLEL  = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# -fopenmp: at::parallel_for runs serially in a file compiled without it.
# -isystem: no warnings for libtorch's headers, and no dependency tracking of them.
CXXFLAGS  = -std=c++17 -O3 -DNDEBUG -fno-math-errno -fPIC -fvisibility=hidden -fopenmp -Wall -Wextra -MMD -MP \
            -Icsrc -isystem build/libtorch/include -isystem build/libtorch/include/torch/csrc/api/include
LDFLAGS   = -shared -Wl,-z,defs -Wl,--no-as-needed -Wl,--enable-new-dtags -Wl,-rpath,'$$ORIGIN/libtorch/lib'
LDLIBS    = -Lbuild/libtorch/lib -ltorch_cpu -lc10

SOURCES  := $(sort $(wildcard csrc/*.cc csrc/kernels/*.cc))
OBJECTS  := $(SOURCES:csrc/%=build/obj/%.o)

# Machine code for Turing to Blackwell, and PTX for newer GPUs. Cards of 8.6 and 8.9 run that of 8.0: the kernels wait for
# memory and use nothing that came later.
CUDA_ARCHS   := 75 80 90 100 120
CUDA_INCLUDE := -isystem build/nvidia/cu13/include -isystem build/nvidia/cu13/include/cccl -isystem build/nvidia/nccl/include
NVCC          = build/nvidia/cu13/bin/nvcc -ccbin $(CXX)
NVCCFLAGS     = -std=c++17 -O3 -DNDEBUG --expt-relaxed-constexpr --expt-extended-lambda \
                -Xcompiler -fPIC,-fvisibility=hidden,-Wall -MMD -MP -Icsrc $(CUDA_INCLUDE) \
                -isystem build/libtorch/include -isystem build/libtorch/include/torch/csrc/api/include \
                $(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) \
                -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
CUDA_LDLIBS   = -ltorch_cuda -lc10_cuda -Lbuild/nvidia/cu13/lib -l:libcudart.so.13

CUDA_SOURCES := $(sort $(wildcard csrc/cuda/*.cc csrc/cuda/*.cu))
CUDA_OBJECTS := $(CUDA_SOURCES:csrc/%=build/obj/%.o)

# Tests run several programs concurrently: their threads should sleep rather than spin.
test golden interop: export GOMP_SPINCOUNT = 1000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help demo test golden build imports interop cuda bundle image image-cpu bench lint test-cuda clean FORCE

help: ## Show this help
	@echo "iddpm: train, sample and evaluate Improved DDPM"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(wildcard Makefile packaging/package.mk) | expand -t 20

demo: build ## Train on smileys of the built-in emoji set, with a page that shows it, and sample (minutes; DEMO_FLAGS adds flags)
	@scripts/demo.sh $(DEMO_FLAGS)

# Of the command's tests, those in which it does several things concurrently: signals, processes, servers, uploads,
# progress. All of them would take ten minutes under the race detector, and the packages below have tests of their own.
CONCURRENT := Interrupt|Kill|Process|Signal|Nohup|FullDisk|Scheduler|Serves|Watch|Remote|Threads|Overlapped|Distributed|Prepare|Progress

# Without debugging information programs of tests link in half the time.
TEST := $(GO) test -count=1 -timeout 30m -ldflags=-w

# The other packages are tested only under the race detector, which leaves C++ as fast as it is; but gotorch counts
# allocations, which the race detector adds to. -count=1: Go's test cache does not notice changes of csrc.
# Two halves run concurrently, each on half of the cores: the command's tests are one process, which mostly uses one core.
HALF = -p $(shell expr \( $$(nproc) + 1 \) / 2)

test: ## Build, lint and run all tests that need neither a GPU nor Python's torch
	@$(MAKE) --no-print-directory build
	@$(MAKE) --silent $(PARALLEL) build/test-kernels
	@$(MAKE) --no-print-directory test-command & command=$$!; $(MAKE) --no-print-directory test-packages; packages=$$?; wait $$command && exit $$packages

.PHONY: test-command test-packages
test-command: lint
	$(PYTHON) -m unittest discover --start-directory scripts --pattern '*_test.py'
	build/test-kernels
	$(TEST) $(HALF) ./cmd/iddpm github.com/wangkuiyi/gotorch
	$(TEST) $(HALF) -race -run '$(CONCURRENT)' ./cmd/iddpm
	cd examples/embed && $(TEST) $(HALF) .

test-packages:
	$(TEST) $(HALF) -race $$($(GO) list $(MODULES) | grep -v cmd/iddpm)

golden: build ## Run only the comparisons with the reference's numbers, verbosely (IDDPM_GOLDEN names another folder)
	$(GO) test -run Golden -v -count=1 $(MODULES)

build: build/libtorch ## Build build/iddpm, which runs from any folder
	@$(MAKE) --silent $(PARALLEL) build/libiddpm.so
ifneq ($(DRIVER),)
	@if [ -e build/libtorch/lib/libtorch_cuda.so ]; then $(MAKE) --silent build/nvidia && $(MAKE) --silent $(PARALLEL) build/libiddpm_cuda.so; \
	  else echo "$$(readlink build/libtorch) is a libtorch without CUDA: the GPU is left out" >&2; fi || \
	  { echo "to build for the CPU alone: make build DRIVER=" >&2; exit 1; }
endif
	@$(MAKE) --no-print-directory build/iddpm

# Go tracks changes itself.
build/iddpm: FORCE
	$(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/iddpm

imports: # packages of other modules that the program imports, which the Dockerfile compiles in a separate layer
	@$(GO) list -deps -f '{{with .Module}}{{if not (or .Main .Replace)}}{{$$.ImportPath}}{{end}}{{end}}' ./cmd/iddpm

# What the tests run beside Python: a browser, shells and readers of man pages.
INTEROP_PROGRAMS := chromium zsh fish groff mandoc

interop: build build/venv/ready ## Test against Python's own torch, numpy and safetensors, a browser and shells (4.7 GB of wheels the first time)
	@for p in $(INTEROP_PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	  test -z "$$missing" || { apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing; } || \
	  { echo "the tests need$$missing: install them as root" >&2; exit 1; }
	build/venv/bin/python -m pytest interop

cuda: build build/nvidia ## Build build/libiddpm_cuda.so and build/test-cuda*, and test them on the stand-in GPU (build/dry-gpu)
	@$(MAKE) --silent $(PARALLEL) build/libiddpm_cuda.so
	$(GO) test -c -tags cuda -ldflags '-s -w' -o build/test-cuda github.com/wangkuiyi/gotorch
	$(GO) test -c -tags cuda -ldflags '-s -w' -o build/test-cuda-evaluate ./evaluate
	@$(MAKE) --silent $(PARALLEL) build/dry-gpu build/test-dry-gpu build/test-nvrtc
	build/test-dry-gpu
	$(PYTHON) scripts/dry_gpu_check.py

# The machine with the GPU needs neither Go nor a compiler: tar xzf build/bundle.tar.gz -C build, LIBTORCH set.
bundle: build cuda ## Pack the files that `make test-cuda` and `make bench` need on another machine (build/bundle.tar.gz, 30 MB)
	tar czf build/bundle.tar.gz -C build iddpm libiddpm.so libiddpm_cuda.so test-cuda test-cuda-evaluate
	@echo "$$(du -k build/bundle.tar.gz | cut -f1) KiB, and $$(git ls-files -z | xargs -0 du -ck | tail -1 | cut -f1) KiB of the tree"

# Docker, Podman and Buildah accept the same arguments. SOURCE is the repository's URL, without credentials.
BUILDER     ?= $(firstword $(foreach b,docker podman buildah,$(if $(shell command -v $b),$b)) docker)
REVISION     = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE      ?= $(or $(shell git config --get remote.origin.url | sed -nE 's#^https?://([^@/]*@)?#https://#p'),unknown)
IMAGE_BUILD  = $(BUILDER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg SOURCE=$(SOURCE) $(IMAGE_FLAGS)

image: ## Build the container image for NVIDIA GPUs, iddpm, by docker, podman or buildah (BUILDER=, IMAGE_FLAGS=)
	$(IMAGE_BUILD) -t iddpm .

image-cpu: ## Build the container image for any machine, iddpm:cpu
	$(IMAGE_BUILD) -t iddpm:cpu --target cpu .

bench: build ## Benchmark against PyTorch (REFERENCE=DIR of improved-diffusion; see bench/compare.py)
	@$(PYTHON) bench/compare.py $(BENCH_FLAGS)

lint: ## Check formatting, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "gofmt would change these, run gofmt -w:" $$unformatted >&2; exit 1; }
	$(GO) vet $(MODULES)
	$(GO) vet -tags cuda github.com/wangkuiyi/gotorch ./evaluate
	cd tools/fakestore && $(GO) vet .
	cd examples/embed && $(GO) vet .
	$(GO) tool staticcheck $(MODULES)

test-cuda: ## Run the checks that need a GPU, after `make build cuda` (scripts/test_cuda.py)
	@$(PYTHON) scripts/test_cuda.py

clean: ## Remove build/ (the downloaded libtorch stays in the cache folder)
	rm -rf build

# --- libtorch -------------------------------------------------------------------------------

# Every make checks these links, since $LIBTORCH or the Python in use may have changed.
# On a machine with NVIDIA's driver the CUDA libraries are downloaded too.
build/libtorch: FORCE
	@mkdir -p build
	@folder=$$($(PYTHON) scripts/libtorch.py $(if $(DRIVER),--cuda-run)) && ln -sfn "$$folder" $@

build/nvidia: FORCE
	@mkdir -p build
	@folder=$$($(PYTHON) scripts/libtorch.py --cuda-build) && ln -sfn "$$folder" $@

# --- Python, for interop only -----------------------------------------------------------------

# --without-pip: Debian's python3-venv package is not needed, and the host's pip installs into it.
# --no-cache-dir: pip's cache would store 3 GB outside the tree.
build/venv/ready: interop/requirements.txt
	rm -rf build/venv
	$(PYTHON) -m venv --without-pip build/venv
	$(PYTHON) -m pip --python build/venv/bin/python install --no-cache-dir --disable-pip-version-check -r $<
	@touch $@

# --- csrc -----------------------------------------------------------------------------------

build/libiddpm.so: $(OBJECTS)
	@echo "link $@"
	@$(CXX) $(LDFLAGS) -fopenmp -o $@ $^ $(LDLIBS)

# The flags and the pinned version are prerequisites, so that new flags or headers recompile everything.
build/obj/%.cc.o: csrc/%.cc build/flags LIBTORCH_VERSION
	@mkdir -p $(@D)
	@echo "compile $<"
	@$(CXX) $(CXXFLAGS) -c -o $@ $<

# The terms of the bound cancel, and the remainder depends on the rounding of each product.
build/obj/kernels/diffusion.cc.o: CXXFLAGS += -ffp-contract=off

# Declarations of gloo, which libtorch's ProcessGroupGloo header includes.
build/obj/distributed.cc.o: CXXFLAGS += -isystem csrc/gloo

build/libiddpm_cuda.so: $(CUDA_OBJECTS)
	@test -e build/libtorch/lib/libtorch_cuda.so || { echo "$$(readlink build/libtorch) is a libtorch without CUDA:" \
	  "unset LIBTORCH, or set it to one with lib/libtorch_cuda.so" >&2; exit 1; }
	@echo "link $@"
	@$(CXX) $(LDFLAGS) -fopenmp -o $@ $^ $(LDLIBS) $(CUDA_LDLIBS)

build/obj/cuda/%.cc.o: csrc/cuda/%.cc build/flags LIBTORCH_VERSION
	@mkdir -p $(@D)
	@echo "compile $<"
	@$(CXX) $(CXXFLAGS) $(CUDA_INCLUDE) -c -o $@ $<

build/obj/cuda/%.cu.o: csrc/cuda/%.cu build/flags LIBTORCH_VERSION
	@mkdir -p $(@D)
	@echo "compile $<"
	@$(NVCC) $(NVCCFLAGS) -c -o $@ $<

# --- the stand-in GPU, for tests: tools/dry-gpu replaces NVIDIA's libraries ---------------------

# One library has all symbols, of all versions; the others are empty libraries of the names that libtorch loads.
DRY          := build/dry-gpu
DRY_OBJECTS  := $(patsubst tools/dry-gpu/%.cc,build/obj/dry-gpu/%.o,$(sort $(filter-out %_test.cc,$(wildcard tools/dry-gpu/*.cc))))
DRY_NAMES    := libcuda.so.1 libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12 libcusparse.so.12 \
                libcurand.so.10 libnccl.so.2 libcusparseLt.so.0 libcufile.so.0 libnvshmem_host.so.3
DRY_WANTED   := $(foreach name,torch_cuda c10_cuda torch_nvshmem,build/libtorch/lib/lib$(name).so) build/libiddpm_cuda.so
DRY_CXXFLAGS  = -std=c++17 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -MMD -MP $(CUDA_INCLUDE)

.PHONY: build/dry-gpu
build/dry-gpu: $(DRY)/libcudart.so.13 $(DRY_NAMES:%=$(DRY)/%) $(DRY)/run

$(DRY)/libcudart.so.13: build/obj/dry-gpu/generated/stubs.o $(DRY_OBJECTS)
	@mkdir -p $(@D)
	@echo "link $@"
	@$(CXX) -shared -Wl,-soname,$(@F) -Wl,--version-script=build/obj/dry-gpu/generated/exports.map -o $@ $^

$(DRY_NAMES:%=$(DRY)/%): $(DRY)/libcudart.so.13
	@$(CXX) -shared -nostdlib -Wl,-soname,$(@F) -Wl,--no-as-needed -o $@ $<

$(DRY)/run: tools/dry-gpu/run.sh
	@mkdir -p $(@D)
	@cp $< $@

build/test-dry-gpu: build/obj/dry-gpu/rules_test.o $(DRY)/libcudart.so.13
	@echo "link $@"
	@$(CXX) -Wl,-rpath,'$$ORIGIN/dry-gpu' -o $@ $^

build/test-nvrtc: tools/dry-gpu/nvrtc_test.c gotorch/loader.c csrc/iddpm.h csrc/iddpm_cuda.h build/libiddpm_cuda.so
	@echo "link $@"
	@$(CC) -O2 -Wall -Wextra -Icsrc -Igotorch -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.c,$^) -ldl

build/obj/dry-gpu/generated/stubs.o: tools/dry-gpu/stubs.py build/libiddpm_cuda.so $(DRY_OBJECTS)
	@mkdir -p $(@D)
	@$(PYTHON) $< $(@D) --libraries $(DRY_WANTED) --objects $(DRY_OBJECTS)
	@$(CXX) $(DRY_CXXFLAGS) -c -o $@ $(@D)/stubs.cc

build/obj/dry-gpu/%.o: tools/dry-gpu/%.cc build/flags LIBTORCH_VERSION
	@mkdir -p $(@D)
	@echo "compile $<"
	@$(CXX) $(DRY_CXXFLAGS) -c -o $@ $<

# --- csrc/cuda on the CPU, for its tests: csrc/cuda/emulated replaces CUDA --------------------

EMULATED_SOURCES := $(sort $(wildcard csrc/cuda/emulated/*.cc csrc/cuda/*.cu) $(filter-out csrc/cuda/device.cc csrc/cuda/graph.cc csrc/cuda/nccl.cc,$(wildcard csrc/cuda/*.cc)))
EMULATED_OBJECTS := $(EMULATED_SOURCES:csrc/cuda/%=build/obj/emulated/%.o)

build/test-kernels: $(EMULATED_OBJECTS) $(OBJECTS)
	@echo "link $@"
	@$(CXX) -Wl,-rpath,'$$ORIGIN/libtorch/lib' -fopenmp -o $@ $^ $(LDLIBS)

build/obj/emulated/%.o: csrc/cuda/% build/flags LIBTORCH_VERSION
	@mkdir -p $(@D)
	@echo "compile $< for the CPU"
	@$(CXX) $(CXXFLAGS) -DIDDPM_EMULATED -isystem csrc/cuda/emulated -c -o $@ -x c++ $<

# --- flags of the compilers ---------------------------------------------------------------------

# A file that changes only when they do, and not whenever the Makefile does. A new one is old: nothing was compiled with
# other flags. It is written while the Makefile is read, since a file that a rule creates is always new to make.
FLAGS := $(CXX) $(CXXFLAGS) -ffp-contract=off -isystem csrc/gloo; $(NVCC) $(NVCCFLAGS); $(DRY_CXXFLAGS); -DIDDPM_EMULATED -isystem csrc/cuda/emulated
$(shell mkdir -p build; echo '$(FLAGS)' | cmp -s - build/flags || \
  { date=now; test -e build/flags || date=2000-01-01; echo '$(FLAGS)' > build/flags; touch -d $$date build/flags; })

# --- packages: make wheel, make dist ------------------------------------------------------------

-include packaging/package.mk

-include $(wildcard build/obj/*.d build/obj/*/*.d build/obj/*/*/*.d)
