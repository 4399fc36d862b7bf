# `make run`: a collector to look at. `make test`: everything that must hold. Both do all the set-up.
# Rust and a JDK are expected; whatever else is missing comes from apt, cargo and Maven Central.
#
# Builds, jars and tools live in $(CACHE), outside the checkout: a fresh clone finds them there.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One lane after another, also under make -j: the partners share the machine.
.NOTPARALLEL:

CACHE ?= $(or $(FLUMEN_CACHE),$(HOME)/.cache/flumen)
export FLUMEN_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/bin:$(HOME)/.cargo/bin:$(PATH)

PORT ?= 4141
DIRECTORY ?= flumen-quickstart
ROUNDS ?= 160
# Seeds of `make simulate`; 0 is: until stopped. Without FIRST each call begins somewhere else.
SEEDS ?= 0
FIRST ?= $(shell date +%s)000000
# Executions of each fuzz target in `make fuzz-long`, and which targets.
EXECUTIONS ?= 10000000
TARGETS ?=
# Tests of one binary that run at once. The partners are JVMs: two at a time fit a small box.
THREADS ?= 2
STATES ?= 48
CARGO_DENY := 0.20.2

CARGO_TEST = cargo test --locked

.PHONY: help run build release deps deps-test deny-tool
.PHONY: test format lint unit simulation simulate config tidy damage damage-short coverage sinks
.PHONY: conformance kafka hdfs end-to-end crash fault-disk licences
.PHONY: fuzz fuzz-long fuzz-minimise bench bench-assertions bench-parts

help:
	@echo 'make run                   build and start a collector on 127.0.0.1:$(PORT), files in $(DIRECTORY)/'
	@echo 'make test                  every test, with the real partners: 30 to 60 minutes on 2 cores'
	@echo 'make release               $(CARGO_TARGET_DIR)/release/flumen, as it should be deployed'
	@echo
	@echo 'make format lint unit config tidy      seconds to minutes, no partner'
	@echo 'make conformance sinks kafka hdfs end-to-end      real Flume clients, brokers and clusters'
	@echo 'make simulate              boxes that fail on purpose, until stopped'
	@echo 'make crash ROUNDS=1000     kill -9 of collector, broker and HDFS under load'
	@echo 'make fault-disk STATES=2000     power cuts and failing disks under ext4 and XFS; as root'
	@echo 'make damage                every bit of a segment flipped, and worse'
	@echo 'make coverage              lines of the log that tests reach; fails below 95 %'
	@echo 'make fuzz                  every fuzz target for some seconds, and that each finds a planted defect'
	@echo 'make fuzz-long EXECUTIONS=10000000 TARGETS="frame call"      that many executions each'
	@echo 'make licences              advisories, licences and sources of all crates'
	@echo 'make bench                 flumen beside a real Flume: the table of the README'
	@echo 'make bench-assertions      what the assertions of a release build cost'
	@echo 'make bench-parts           the parts of the path of a batch'

# The development profile: optimised enough to show what the collector does, and built in a third of
# the time of `make release`, which is what to measure and to deploy.
run: build
	@exec "$(CARGO_TARGET_DIR)/debug/flumen" quickstart --port $(PORT) --directory "$(DIRECTORY)"

build: deps
	cargo build --locked --bin flumen

release: deps
	cargo build --locked --release --bin flumen
	@echo 'built: $(CARGO_TARGET_DIR)/release/flumen'

# Fast things first: what is wrong is said early. Partners one binary after another.
test: deps-test format lint unit config tidy simulation licences damage-short fuzz sinks conformance kafka hdfs \
    end-to-end crash fault-disk
	@echo "make test: all passed"

# --- set-up ------------------------------------------------------------------------------------------

deps:
	@.ci/set-up build

deps-test:
	@.ci/set-up test

# Minutes of compiling, once.
deny-tool: deps
	@cargo-deny --version 2>/dev/null | grep -qF '$(CARGO_DENY)' || \
	    cargo install cargo-deny --version $(CARGO_DENY) --locked --root "$(CACHE)"

# --- tests -------------------------------------------------------------------------------------------

format:
	cargo fmt --check

lint: deps
	cargo clippy --locked --all-targets -- -D warnings

unit: deps
	$(CARGO_TEST) --lib --bins

# Boxes that fail on purpose: a few thousand seeds, and every planted bug.
simulation: deps
	$(CARGO_TEST) --test simulation

# Until it is stopped, or SEEDS of them from FIRST on: make simulate SEEDS=1000000 FIRST=0
simulate: deps
	FLUMEN_SIM_SEEDS=$(SEEDS) FLUMEN_SIM_FIRST=$(FIRST) $(CARGO_TEST) --release --test simulation -- \
	    --nocapture every_seed

config: deps
	$(CARGO_TEST) --test config

tidy: deps
	$(CARGO_TEST) --test tidy

# Most of these wait for a checkpoint, so four at once.
damage-short: deps
	$(CARGO_TEST) --test damage -- --test-threads=4

# A release build of it, then every bit, every pair of sectors, a million seeds.
damage: deps
	FLUMEN_DAMAGE=long $(CARGO_TEST) --release --test damage -- --skip flume_ --nocapture --test-threads=$(THREADS)

coverage: deps
	.ci/coverage

sinks: deps
	$(CARGO_TEST) --test file_sinks

conformance: deps-test
	$(CARGO_TEST) --test conformance -- --test-threads=$(THREADS)

kafka: deps-test
	$(CARGO_TEST) --test kafka_live -- --test-threads=1

hdfs: deps-test
	$(CARGO_TEST) --test hdfs_live -- --test-threads=$(THREADS)

end-to-end: deps-test
	$(CARGO_TEST) --test end_to_end -- --test-threads=$(THREADS)

crash: deps-test
	FLUMEN_CRASH_ROUNDS=$(ROUNDS) $(CARGO_TEST) --test crash -- --nocapture --test-threads=1

# STATES is the number of images of power cuts, over both file systems. Needs root, /dev/fuse and loop
# devices; fails where it has not got them.
fault-disk: deps-test
	FLUMEN_FAULT_DISK_STATES=$(STATES) $(CARGO_TEST) --test fault_disk -- --nocapture --test-threads=4

fuzz: deps
	tests/fuzz/run lint
	tests/fuzz/run short
	tests/fuzz/run planted

# The record: what grows and what crashes is kept in the cache.
fuzz-long: deps
	tests/fuzz/run long $(EXECUTIONS) $(TARGETS)

# What long runs found, as little as covers the same, beside the corpus of the checkout.
fuzz-minimise: deps
	tests/fuzz/run minimise $(TARGETS)

# Advisories are a repository on GitHub; a machine that cannot reach it checks the rest and says so.
licences: deny-tool
	cargo-deny --locked check bans licenses sources
	@if timeout 30 git ls-remote --exit-code https://github.com/RustSec/advisory-db main >/dev/null 2>&1; \
	then cargo-deny --locked check advisories; \
	else echo 'ADVISORIES WERE NOT CHECKED: github.com/RustSec/advisory-db cannot be reached from here'; fi

# --- benches -----------------------------------------------------------------------------------------

# BENCH holds options of benches/against_flume: make bench BENCH='--rows durable,cpu --repeats 7'
bench: deps-test
	@.ci/set-up bench
	cargo build --locked --release --bin flumen --example load
	benches/against_flume --flumen "$(CARGO_TARGET_DIR)/release/flumen" \
	    --load "$(CARGO_TARGET_DIR)/release/examples/load" --data "$(CACHE)" $(BENCH)

# What the assertions of a release build cost. Only this crate is built a second time, without them.
bench-assertions: deps-test
	@.ci/set-up bench
	RUSTC_WORKSPACE_WRAPPER="$(CURDIR)/benches/bare" cargo build --locked --release --bin flumen
	mv "$(CARGO_TARGET_DIR)/release/flumen" "$(CARGO_TARGET_DIR)/release/flumen-bare"
	cargo build --locked --release --bin flumen --example load
	benches/against_flume --rows assertions --bare "$(CARGO_TARGET_DIR)/release/flumen-bare" \
	    --flumen "$(CARGO_TARGET_DIR)/release/flumen" --load "$(CARGO_TARGET_DIR)/release/examples/load" \
	    --data "$(CACHE)" $(BENCH)

bench-parts: deps
	cargo bench --locked
