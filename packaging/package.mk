# Packages: a wheel, and a tar with an installer. A file of its own, so that changes here do not recompile csrc.

PACKAGE   := build/package
MACHINE   := $(shell uname -m)
# On x86-64 packages run with glibc 2.28 wherever they are built.
OLD_GLIBC := $(filter x86_64,$(MACHINE))
PACKED    := $(PACKAGE)/iddpm $(PACKAGE)/libiddpm.so $(if $(wildcard build/libiddpm_cuda.so),$(PACKAGE)/libiddpm_cuda.so)
DIST      := iddpm-$(VERSION)-linux-$(MACHINE)

# libtorch is a link beside the program, or the torch beside the package iddpm in site-packages.
PACKAGE_LDFLAGS = $(LDFLAGS),-rpath,'$$ORIGIN/../torch/lib'
# Before glibc 2.34 threads, the loader and the resolver are libraries of their own.
PROGRAM_LDFLAGS = $(if $(OLD_GLIBC),$(CURDIR)/$(PACKAGE)/program.o) -Wl$(comma)--no-as-needed -l:libpthread.so.0 -l:libdl.so.2 -l:libresolv.so.2 -l:libm.so.6
comma := ,

.PHONY: wheel dist packed
wheel: packed ## Pack dist/iddpm-VERSION-py3-none-manylinux_2_28_x86_64.whl, which pip installs beside torch
	@$(PYTHON) scripts/wheel.py --version '$(VERSION)' --share $(PACKAGE)/share --output dist $(PACKED)

dist: packed ## Pack dist/iddpm-VERSION-linux-x86_64.tar.gz, with install.sh, completions and man page
	@rm -rf $(PACKAGE)/$(DIST) && mkdir -p dist $(PACKAGE)/$(DIST)/lib $(PACKAGE)/$(DIST)/setup/scripts
	@cp $(PACKED) $(PACKAGE)/$(DIST)/lib/
	@cp -R $(PACKAGE)/share $(PACKAGE)/$(DIST)/
	@cp packaging/install.sh LICENSE NOTICE README.md $(PACKAGE)/$(DIST)/
	@cp LIBTORCH_VERSION $(PACKAGE)/$(DIST)/setup/ && cp -R scripts/libtorch.py scripts/wheels $(PACKAGE)/$(DIST)/setup/scripts/
	@tar -C $(PACKAGE) --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf dist/$(DIST).tar.gz $(DIST)
	@echo "dist/$(DIST).tar.gz ($$(du -k dist/$(DIST).tar.gz | cut -f1) KiB)"

packed: build
	@$(MAKE) --no-print-directory --silent $(PACKED)
	@$(MAKE) --no-print-directory --silent $(PACKAGE)/share/man/man1/iddpm.1

# Go's linker adds the tree's build folder to the run path, which is of no use elsewhere.
$(PACKAGE)/iddpm: FORCE $(if $(OLD_GLIBC),$(PACKAGE)/program.o)
	@mkdir -p $(@D)
	$(GO) build -ldflags "-s -w -X main.version=$(VERSION) -linkmode=external -extldflags '$(PROGRAM_LDFLAGS)'" -o $@ ./cmd/iddpm
	@$(PYTHON) scripts/wheel.py --set-run-path '$$ORIGIN' $@

$(PACKAGE)/libiddpm.so: $(OBJECTS) $(if $(OLD_GLIBC),$(PACKAGE)/library.o)
	@mkdir -p $(@D)
	@echo "link $@"
	@$(CXX) $(PACKAGE_LDFLAGS) -fopenmp -o $@ $^ $(LDLIBS)

$(PACKAGE)/libiddpm_cuda.so: $(CUDA_OBJECTS) $(if $(OLD_GLIBC),$(PACKAGE)/cuda.o)
	@echo "link $@"
	@$(CXX) $(PACKAGE_LDFLAGS) -fopenmp -o $@ $^ $(LDLIBS) $(CUDA_LDLIBS) -l:libdl.so.2

$(PACKAGE)/program.o: PART := -DPROGRAM
$(PACKAGE)/cuda.o: PART := -DCUDA
$(PACKAGE)/%.o: packaging/glibc.c
	@mkdir -p $(@D)
	@$(CC) -O2 -fPIC -fno-builtin -Wall $(PART) -c -o $@ $<

# Where man and the shells look below a prefix.
$(PACKAGE)/share/man/man1/iddpm.1: $(PACKAGE)/iddpm
	@cd $(PACKAGE) && mkdir -p share/man/man1 share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d
	@cd $(PACKAGE) && ./iddpm completion man > share/man/man1/iddpm.1
	@cd $(PACKAGE) && ./iddpm completion bash > share/bash-completion/completions/iddpm
	@cd $(PACKAGE) && ./iddpm completion zsh > share/zsh/site-functions/_iddpm
	@cd $(PACKAGE) && ./iddpm completion fish > share/fish/vendor_completions.d/iddpm.fish
