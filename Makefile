# The front door: thin targets over the presets in CMakePresets.json. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
# Seconds for each fuzz target, tests in parallel.
FUZZ_SECONDS ?= 60
JOBS ?= 2

cmake = cmake --preset $(1) --log-level=NOTICE $(2) && cmake --build --preset $(1)
ctest = ctest --test-dir build/$(1) --output-on-failure -j $(JOBS)
# clang's own freestanding headers: the wasm build sees no others.
clang_include = $(shell clang -print-resource-dir)/include

.PHONY: all help packages demo test acceptance test-asan test-clang test-tsan lint fuzz soak bench wasm worker install clean

all: ## build/warren, optimised
	@command -v cmake >/dev/null || { echo "cmake is missing: make packages" >&2; exit 1; }
	@$(call cmake,release)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

packages: ## install what the build needs
	@tools/install-packages build

demo: ## two machines behind NAT find each other, before your eyes
	@tools/install-packages demo
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 -B demo/demo.py build/warren

test: ## everything that must hold before a change goes in
	@tools/install-packages test
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory wasm
	@$(MAKE) --no-print-directory worker
	@$(MAKE) --no-print-directory test-asan
	@$(MAKE) --no-print-directory test-clang
	@$(MAKE) --no-print-directory test-tsan
	@$(MAKE) --no-print-directory lint
	@echo "make test: everything passed"

acceptance: ## the acceptance suite alone, on the binary and on the Worker
	@tools/install-packages test
	@$(MAKE) --no-print-directory worker
	@$(call cmake,test)
	@$(call ctest,asan) -L acceptance

test-asan: ## unit, interoperability, acceptance and lab tests under ASan and UBSan
	@$(call cmake,test)
	@$(call ctest,asan)

test-clang: ## the same sources with clang's warnings and sanitizers; unit tests
	@$(call cmake,clang)
	@$(call ctest,clang) -L unit

# Nothing is suppressed: the libraries are not instrumented, and keep to what they promise.
test-tsan: ## what runs on several threads, under ThreadSanitizer: any data race fails
	@$(call cmake,tsan)
	@TSAN_OPTIONS="halt_on_error=1 exitcode=66" $(call ctest,tsan) \
		-R '^(crypto_aead|queue_ring_threads|node_handshakes|interop\.threads)'

lint: ## clang-tidy, cppcheck, and the house rules that a script can check
	@$(call cmake,clang) >/dev/null
	@tools/lint build/clang

fuzz: ## every fuzz target for FUZZ_SECONDS
	@tools/install-packages test
	@$(call cmake,fuzz)
	@tools/fuzz build/fuzz $(FUZZ_SECONDS)

soak: ## the lab at full length: 20 starts of each kind, ten minutes without a server
	@tools/install-packages test
	@$(MAKE) --no-print-directory all
	@$(call cmake,test)
	@WARREN_SOAK=1 ctest --test-dir build/asan --output-on-failure -L lab

bench: ## the packet path, beside wireguard-go; the server under load, beside nginx and SQLite
	@tools/install-packages test bench
	@$(call cmake,release,-DWARREN_BENCH=ON)
	@build/bench/warren_steps
	@/usr/bin/python3 -B bench/tunnel.py build/warren
	@/usr/bin/python3 -B bench/server.py build/warren build/bench

wasm: ## core/ freestanding for wasm32: fails at the first system header
	@$(call cmake,wasm,-DWARREN_CLANG_INCLUDE=$(clang_include))

worker: ## the Cloudflare host in build/worker: wasm, bundle, and their sizes
	@tools/install-packages worker
	@worker/build build/worker || [ $$? -eq 77 ]

install: ## build/warren below DESTDIR and PREFIX
	install -D -m 755 build/warren $(DESTDIR)$(PREFIX)/bin/warren
	ln -sf warren $(DESTDIR)$(PREFIX)/bin/warren-wg

clean: ## remove build/
	rm -rf build
