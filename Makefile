# dreamroad: bare `make` explains itself. Everything is built under build/<CONFIG>/.

# ---- what the build needs: every Debian package, once ----
PACKAGES := g++ make libfmt-dev nlohmann-json3-dev libcli11-dev libgtest-dev libmpfr-dev libstb-dev libtomlplusplus-dev \
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev pkgconf libboost-context-dev
FUZZ_PACKAGES := clang libclang-rt-dev# of `make fuzz` alone

CONFIG ?= release
BUILD  := build/$(CONFIG)
CXX    ?= g++
MAKEFLAGS += --no-print-directory
Q := $(if $(V),,@)# make V=1 shows the compiler's command lines
.DEFAULT_GOAL := help

# ---- compiler flags ----
# -ffp-contract=off holds for every translation unit: a result is defined to the last bit, so each fused multiply-add is
# written out. The two -fno- flags change no value: they allow sqrt and selects to be vectorised.
COMMON := -std=c++20 -I. -MMD -MP -g1 -pthread -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror
ifeq ($(CONFIG),release)
  OPT := -O2
  KERNEL_OPT := -O3
  SIMT_OPT := -O1
else ifeq ($(CONFIG),asan)
  OPT := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
  KERNEL_OPT := $(OPT)
else ifeq ($(CONFIG),debug)
  OPT := -O0 -ggdb3
  KERNEL_OPT := -O1 -ggdb3
else
  $(error CONFIG=$(CONFIG) is unknown; accepted: release, asan, debug)
endif

SIMT_OPT ?= $(OPT)

# A _cpu.cpp is compiled once per instruction set. dreamroad has those of ISAS, the best that this machine's processor
# runs unless told otherwise, so that it is built in half the time; the tests have all of them and see that they agree.
# `make ISAS="avx512 avx2"` builds a program for other processors too, which chooses at run time; `portable`, the plain C++
# body, is the only one on other machines.
ifeq ($(shell uname -m),x86_64)
  BEST_ISA := $(if $(shell $(CXX) -march=native -dM -E -x c++ /dev/null | grep __AVX512VL__),avx512,avx2)
  TEST_ISAS := $(or $(ISAS),avx512 avx2)
else
  BEST_ISA := portable
  TEST_ISAS := $(or $(ISAS),portable)
endif
ISAS ?= $(BEST_ISA)
# A .cu is compiled once per device: by the C++ compiler for the emulator (simt), by nvcc for cuda, by hipcc for hip.
DEVICES ?= simt
# GCC 12 calls the undefined operand inside its own AVX-512 intrinsics "maybe uninitialized" (PR 105593), and warns of an
# ABI that changes with the vector width although no vector crosses a translation unit.
KERNEL_FLAGS := $(KERNEL_OPT) -Wno-psabi -Wno-maybe-uninitialized -Wno-uninitialized

# FFmpeg is optional: without it io/video.cpp says so when it is asked for a video.
FFMPEG_LIBS := $(shell pkg-config --libs libavformat libavcodec libavutil libswscale 2>/dev/null)
LIBS := $(FFMPEG_LIBS) -lboost_context
$(BUILD)/io/video.o build/fuzz/io/video.o: EXTRA := $(if $(FFMPEG_LIBS),-DDR_WITH_FFMPEG)

# ---- sources ----
KERNEL_SRC := $(shell find kernels tests -name '*_cpu.cpp' | sort)
DEVICE_SRC := $(shell find kernels -name '*.cu' | sort)
PLAIN_SRC  := $(filter-out kernels/dispatch.cpp, \
  $(shell find kernels runtime io model sim -name '*.cpp' ! -name '*_cpu.cpp' | sort))
APP_SRC    := $(shell find train -name '*.cpp' | sort)
TEST_SRC   := $(filter-out tests/prove_math.cpp,$(shell find tests -maxdepth 1 -name '*.cpp' ! -name '*_cpu.cpp' | sort))

objects     = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
isa_objects = $(foreach isa,$(2),$(patsubst %.cpp,$(BUILD)/%.$(isa).o,$(1)))
device_objects = $(foreach device,$(1),$(patsubst %.cu,$(BUILD)/%.$(device).o,$(DEVICE_SRC)))
# The library with a list of instruction sets and one of devices. kernels/dispatch.cpp alone is compiled for the lists.
space       := $(subst ,, )
library     = $(call objects,$(PLAIN_SRC)) $(BUILD)/kernels/dispatch.$(subst $(space),.,$(strip $(1) $(2))).o \
  $(call isa_objects,$(filter kernels/%,$(KERNEL_SRC)),$(1)) $(call device_objects,$(2))
LIB_OBJ      := $(call library,$(ISAS),$(DEVICES))
TEST_LIB_OBJ := $(call library,$(TEST_ISAS),$(DEVICES))
# The proof of the elementary functions covers the plain C++ body too: core/host_math.cpp is compiled from it.
PROOF_ISAS   := $(sort $(TEST_ISAS) portable)
APP_OBJ      := $(call objects,$(APP_SRC))
TEST_OBJ     := $(call objects,$(TEST_SRC))
# libFuzzer is part of clang. The archive gives each target the readers that it calls and nothing else.
FUZZ         := build/fuzz
FUZZ_LIB_OBJ := $(patsubst %.cpp,$(FUZZ)/%.o,$(filter io/%,$(PLAIN_SRC)) kernels/core/check.cpp kernels/core/host_math.cpp \
  kernels/core/view.cpp)
FUZZ_TARGETS := $(patsubst tests/fuzz/%.cpp,$(FUZZ)/%,$(filter-out tests/fuzz/seeds.cpp \
  $(if $(FFMPEG_LIBS),,tests/fuzz/video.cpp),$(wildcard tests/fuzz/*.cpp)))
FUZZ_FLAGS   := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
PROVE_OBJ := $(call objects,tests/prove_math.cpp) \
  $(call isa_objects,$(filter tests/prove_math%,$(KERNEL_SRC)),$(PROOF_ISAS))

# ---- targets ----
.PHONY: help deps build test test-ops demo reproduce-world audit bench bench-peers check check-includes lint prove-math asan fuzz clean FORCE

help:
	@echo 'dreamroad: an engine that trains driving world models and policies'
	@echo
	@echo '  make demo         install what is missing, build, train a world model on the built-in world, sample, measure: out/demo'
	@echo '  make reproduce-world  the same for longer: out/reproduce (about an hour; goes on where it was stopped)'
	@echo '  make test         install what is missing, build, run every test (ends with N passed, N failed, N skipped)'
	@echo '  make build        build/$(CONFIG)/dreamroad, linked as build/dreamroad'
	@echo '  make audit        every op and case against its reference, and the injected faults'
	@echo '  make bench        the op table timed, with peaks measured in the same run'
	@echo '  make bench-peers  the same beside OpenBLAS, oneDNN and PyTorch (bench/peers/)'
	@echo '  make prove-math   elementary functions: all 2^32 inputs of each (about ten minutes on two cores)'
	@echo '  make check        floors between folders, and lint'
	@echo '  make test-ops OP=adaln   the tests of one op'
	@echo '  make asan         the tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo '  make fuzz SECONDS=30     every reader of files under libFuzzer, so many seconds each'
	@echo '  make deps         apt-get install $(PACKAGES)'
	@echo '  make clean'
	@echo
	@echo 'detected:'
	@echo "  compiler: $$($(CXX) --version | head -n 1)"
	@echo '  CPU kernels: $(ISAS); of the tests: $(TEST_ISAS)'
	@echo "  packages: $$(tests/missing_packages.sh $(PACKAGES) | sed 's/^$$/all present/; s/^\(..*\)/missing: \1/')"
	@echo "  nvcc: $$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p' | grep . || echo 'not found')"
	@echo "  HIP: $$(hipcc --version 2>/dev/null | head -n 1 | grep . || echo 'not found')"
	@echo "  FFmpeg: $(if $(FFMPEG_LIBS),$$(pkg-config --modversion libavformat | sed 's/^/libavformat /'),not found)"
	@echo "  MPI: $$(mpirun --version 2>/dev/null | head -n 1 | grep . || echo 'not found')"

# Installs only what is missing, so that a prepared machine needs neither root nor a network.
deps:
	@missing="$$(tests/missing_packages.sh $(PACKAGES))"; \
	if [ -n "$$missing" ]; then \
	  echo "installing: $$missing"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

# Recursion, so that a header installed by `deps` is there before the first compiler call.
JOBS ?= $(shell nproc)
build: deps
	@$(MAKE) -j$(JOBS) $(BUILD)/dreamroad build/dreamroad

test: deps check
	@$(MAKE) -j$(JOBS) $(BUILD)/dreamroad build/dreamroad $(BUILD)/run_tests $(BUILD)/prove_math
	@tests/check_isa.sh $(TEST_LIB_OBJ)
	@$(BUILD)/prove_math --bf16
	@$(BUILD)/run_tests --gtest_brief=1

test-ops: deps
	@$(MAKE) -j$(JOBS) $(BUILD)/dreamroad build/dreamroad $(BUILD)/run_tests
	@$(BUILD)/run_tests --gtest_brief=1 --gtest_filter='*Ops*/$(OP)__*'

demo:
	@start=$$(date +%s.%N); $(MAKE) build DEVICES=; \
	train/recipes/world.sh demo out/demo $$(awk -v a=$$start -v b=$$(date +%s.%N) 'BEGIN { printf "%.1f", b - a }')

reproduce-world:
	@$(MAKE) build DEVICES=
	@train/recipes/world.sh reproduce out/reproduce

audit:
	@$(MAKE) build ISAS='$(TEST_ISAS)'
	@mkdir -p out
	@build/dreamroad audit --json out/audit.json

bench: build
	@mkdir -p out
	@build/dreamroad bench --json out/bench.json

bench-peers: build
	@mkdir -p out bench/results
	@bench/peers/setup.sh
	@bench/peers/compare.py --markdown out/peers.md

prove-math: deps
	@$(MAKE) -j$(JOBS) $(BUILD)/prove_math
	@$(BUILD)/prove_math

check: check-includes lint
check-includes:
	@tests/check_includes.sh
lint:
	@tests/lint.sh

asan:
	@$(MAKE) CONFIG=asan test

# Each target starts from seeds that the program's own writers make. An input that breaks a reader is kept in build/fuzz/.
SECONDS ?= 10
fuzz:
	@$(MAKE) deps PACKAGES='$(PACKAGES) $(FUZZ_PACKAGES)'
	@$(MAKE) -j$(JOBS) $(FUZZ)/seeds $(FUZZ_TARGETS)
	@$(FUZZ)/seeds $(FUZZ)/seed
	@for t in $(notdir $(FUZZ_TARGETS)); do \
	  mkdir -p $(FUZZ)/corpus/$$t; \
	  $(FUZZ)/$$t -max_total_time=$(SECONDS) -max_len=65536 -timeout=20 -malloc_limit_mb=512 -print_funcs=0 \
	    -artifact_prefix=$(FUZZ)/$$t. $(FUZZ)/corpus/$$t $(FUZZ)/seed/$$t >$(FUZZ)/$$t.log 2>&1 || \
	    { tail -n 40 $(FUZZ)/$$t.log; exit 1; }; \
	  echo "  fuzz $$t: $$(sed -n 's/^#\([0-9]*\)\tDONE *cov: \([0-9]*\).*/\1 inputs, \2 branches, none broke it/p' $(FUZZ)/$$t.log)"; \
	done

clean:
	rm -rf build out

# ---- rules ----
$(BUILD)/dreamroad: $(APP_OBJ) $(LIB_OBJ) $(BUILD)/isas
	@echo "  $@"
	$(Q)$(CXX) $(OPT) -pthread -o $@ $(filter %.o,$^) $(LIBS) $(DEVICE_LIBS)
$(BUILD)/run_tests: $(TEST_OBJ) $(TEST_LIB_OBJ) $(filter-out $(BUILD)/train/main.o,$(APP_OBJ))
	@echo "  $@"
	$(Q)$(CXX) $(OPT) -pthread -o $@ $^ -lgtest $(LIBS) $(DEVICE_LIBS)
$(BUILD)/prove_math: $(PROVE_OBJ) $(TEST_LIB_OBJ)
	@echo "  $@"
	$(Q)$(CXX) $(OPT) -pthread -o $@ $^ -lmpfr -lgmp $(LIBS) $(DEVICE_LIBS)

$(FUZZ)/io.a: $(FUZZ_LIB_OBJ)
	@rm -f $@; ar rcs $@ $^
$(FUZZ_TARGETS): $(FUZZ)/%: $(FUZZ)/tests/fuzz/%.o $(FUZZ)/io.a
	@echo "  $@"
	$(Q)clang++ $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(FFMPEG_LIBS)
$(FUZZ)/seeds: $(FUZZ)/tests/fuzz/seeds.o $(FUZZ)/io.a
	@echo "  $@"
	$(Q)clang++ $(FUZZ_FLAGS) -o $@ $^ $(FFMPEG_LIBS)
$(FUZZ)/%.o: %.cpp Makefile
	@mkdir -p $(@D); echo "  $@"
	$(Q)clang++ $(COMMON) $(FUZZ_FLAGS) $(EXTRA) -fsanitize=fuzzer-no-link -c $< -o $@

build/dreamroad: FORCE
	@mkdir -p build && ln -sfn $(CONFIG)/dreamroad $@

# Changing the flags rebuilds everything; changing the lists of instruction sets and devices links anew.
FLAGS := $(CXX) $(COMMON) $(OPT) $(KERNEL_FLAGS) $(SIMT_OPT) $(FFMPEG_LIBS)
kept = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(BUILD)/flags: FORCE
	$(call kept,$(FLAGS))
$(BUILD)/isas: FORCE
	$(call kept,$(ISAS) $(DEVICES))
$(BUILD)/test_lists: FORCE
	$(call kept,$(TEST_ISAS) $(DEVICES))

# The headers of nearly every file, parsed once. Not for ccache, which would keep nothing that was compiled with them; and
# not for the other configurations, which thus see to it that each file includes what it needs.
ifeq ($(CONFIG)$(findstring ccache,$(CXX)),release)
  KERNEL_PCH := $(BUILD)/precompiled/kernel.h.gch
  PLAIN_PCH  := $(BUILD)/precompiled/plain.h.gch
endif
using = $(if $(1),-Winvalid-pch -include $(basename $(1)))
$(BUILD)/precompiled/kernel.h.gch: private FLAGS_OF = $(KERNEL_FLAGS)
$(BUILD)/precompiled/plain.h.gch: private FLAGS_OF = $(OPT)
$(BUILD)/precompiled/%.h.gch: kernels/core/precompiled.h $(BUILD)/flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(CXX) $(COMMON) $(FLAGS_OF) -x c++-header $< -o $@

# stb's arithmetic wraps (io/stb.cpp).
WRAPPING := -fwrapv -fno-sanitize=shift,signed-integer-overflow
$(BUILD)/io/stb.o: private OPT += $(WRAPPING)
$(BUILD)/io/stb.o: private using :=
# Long lists that are read once: half the time of -O2.
$(BUILD)/kernels/harness/all_cases.o: private OPT := $(if $(filter release,$(CONFIG)),-Og,$(OPT))
$(BUILD)/kernels/harness/all_cases.o: private using :=
$(FUZZ)/io/stb.o: private FUZZ_FLAGS += $(WRAPPING)

define isa_rule
$(BUILD)/%_cpu.$(1).o: %_cpu.cpp $(KERNEL_PCH) $(BUILD)/flags
	@mkdir -p $$(@D); echo "  $$@"
	$(Q)$(CXX) $(COMMON) $(KERNEL_FLAGS) $(call using,$(KERNEL_PCH)) -DDR_ISA=$(1) -DDR_ISA_$(1) -c $$< -o $$@
endef
$(foreach isa,$(PROOF_ISAS),$(eval $(call isa_rule,$(isa))))

# ---- CUDA and HIP: nvcc and hipcc bring libfmt's compile-time checks down, so those are off there ----
NVCC  ?= nvcc
HIPCC ?= hipcc
CUDA_ARCHS ?= 80 90a
HIP_ARCHS  ?= gfx90a
DEVICE_COMMON := -std=c++20 -I. -O3 -MMD -MP
NVCC_FLAGS := $(DEVICE_COMMON) -lineinfo -fmad=false --expt-relaxed-constexpr --diag-suppress 1675 -Xptxas -v,-warn-spills \
  $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) -DFMT_CONSTEVAL= -DFMT_USE_CONSTEXPR=1 \
  -Xcompiler -Wall,-Wextra,-Wno-array-bounds,-ffp-contract=off
HIPCC_FLAGS := $(DEVICE_COMMON) -x hip -ffp-contract=off $(addprefix --offload-arch=,$(HIP_ARCHS))
CUDA_HOME := $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(NVCC) 2>/dev/null)))
DEVICE_LIBS := $(if $(filter cuda,$(DEVICES)),-L$(CUDA_HOME)/lib64 -lcublasLt -lcudart_static -ldl -lrt) \
  $(if $(filter hip,$(DEVICES)),-lamdhip64)
# What ptxas says of each kernel (registers, spills) is kept beside the object.
$(BUILD)/%.cuda.o: %.cu $(BUILD)/cuda_flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(NVCC) $(NVCC_FLAGS) -DDR_BACKEND=cuda -DDR_BACKEND_cuda -c $< -o $@ 2>$(@:.o=.ptxas) || { cat $(@:.o=.ptxas); exit 1; }
	@! grep -E 'warning' $(@:.o=.ptxas) | grep -v 'spilled to local memory'
$(BUILD)/%.hip.o: %.cu $(BUILD)/hip_flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(HIPCC) $(HIPCC_FLAGS) -DDR_BACKEND=hip -DDR_BACKEND_hip -c $< -o $@ 2>$(@:.o=.clang) || { cat $(@:.o=.clang); exit 1; }
$(BUILD)/cuda_flags: FORCE
	$(call kept,$(NVCC) $(NVCC_FLAGS))
$(BUILD)/hip_flags: FORCE
	$(call kept,$(HIPCC) $(HIPCC_FLAGS))

# The emulator's kernels are there to be right, not fast: -O1 takes half the time of -O2, whose vectoriser (GCC 12.2) has been
# seen to load four floats as if they were aligned where the code had asked and they were not.
$(BUILD)/%.simt.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(CXX) $(COMMON) $(SIMT_OPT) -Wno-psabi -Wno-array-bounds -DDR_BACKEND=simt -DDR_BACKEND_simt -x c++ -c $< -o $@

with = $(patsubst %,-DDR_WITH_%,$(subst ., ,$(1)))
DISPATCH_OBJ := $(sort $(filter $(BUILD)/kernels/dispatch.%,$(LIB_OBJ) $(TEST_LIB_OBJ)))
$(DISPATCH_OBJ): $(BUILD)/kernels/dispatch.%.o: kernels/dispatch.cpp $(PLAIN_PCH) $(BUILD)/flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(CXX) $(COMMON) $(OPT) $(call using,$(PLAIN_PCH)) $(call with,$*) -c $< -o $@
$(TEST_OBJ) $(BUILD)/tests/prove_math.o: $(BUILD)/test_lists
$(TEST_OBJ) $(BUILD)/tests/prove_math.o: EXTRA := $(call with,$(TEST_ISAS) $(DEVICES))
# Kernels of its own, for the emulator.
$(BUILD)/tests/kernels_simt_test.o: private EXTRA := -DDR_BACKEND=simt -DDR_BACKEND_simt -Wno-psabi -Wno-array-bounds
$(BUILD)/tests/kernels_simt_test.o: private using :=

$(BUILD)/%.o: %.cpp $(PLAIN_PCH) $(BUILD)/flags
	@mkdir -p $(@D); echo "  $@"
	$(Q)$(CXX) $(COMMON) $(OPT) $(call using,$(PLAIN_PCH)) $(EXTRA) -c $< -o $@

-include $(patsubst %.o,%.d,$(sort $(LIB_OBJ) $(TEST_LIB_OBJ)) $(APP_OBJ) $(TEST_OBJ) $(PROVE_OBJ)) \
  $(foreach d,cuda hip,$(patsubst %.cu,$(BUILD)/%.$(d).d,$(DEVICE_SRC))) $(patsubst %.gch,%.d,$(KERNEL_PCH) $(PLAIN_PCH)) $(shell find $(FUZZ) -name '*.d' 2>/dev/null)
