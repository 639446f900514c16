# `make help` lists the targets. Everything is run from the repository's root.

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench bench-peers instructions fuzz more-servers lint install tools stack down build docs fmt

CARGO ?= cargo
PROFILE ?= dev
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.2
TYPOS_VERSION := 1.52.0
CACHE := $(or $(MILLRACE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace)
TOOLS := $(CACHE)/tools
STACK := deploy/local/stack
FUZZ_SECONDS ?= 20

# What `make bench` measures, and how much of it; docs/how-to/benchmark.md has the names.
BENCH ?=
BENCH_WORKLOADS ?=
BENCH_ROWS ?= 2000000
BENCH_RUNS ?= 3
BENCH_OUT ?= target/bench
RELEASE := $(TARGET_DIR)/release
# The others take as long to link and measure nothing.
BENCH_BINARIES := --bin bench --bin millrace-producer --bin millrace-consumer

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: build ## start the stack and a pipeline under load, compare every row, leave it running
	@set -a && . ./.stack/env && set +a && $(BIN)/demo

test: build more-servers ## start the stack, then run every test but the slow ones
	$(CARGO) test --workspace --profile $(PROFILE) --no-fail-fast

test-slow: build more-servers ## start the stack, then run the tests that take minutes: the whole disruption matrix
	$(CARGO) test --workspace --test main --profile $(PROFILE) --no-fail-fast -- --ignored --nocapture

# The dependencies are those of every other build: only the project's own crates are built once more, optimised.
instructions: ## count the instructions of hot functions under valgrind, and hold them against tests/bench/instructions.txt
	@$(STACK) install valgrind
	CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) build --workspace --bin instructions
	$(TARGET_DIR)/debug/instructions $(WRITE)

# Tests that need these say so and pass without them: they take root and a Debian mirror.
more-servers: stack
	@MILLRACE_MYSQL=$$(. deploy/local/versions.sh && echo $$MYSQL_NEW_VERSION) $(STACK) fetch mysql mariadb || true

bench: stack ## measure each stage and the whole line: BENCH="snapshot line" BENCH_WORKLOADS=orders BENCH_ROWS=200000 for less
	$(CARGO) build --workspace --release $(BENCH_BINARIES)
	@set -a && . ./.stack/env && set +a && $(RELEASE)/bench run $(BENCH) --rows $(BENCH_ROWS) --runs $(BENCH_RUNS) \
		$(if $(BENCH_WORKLOADS),--workloads $(BENCH_WORKLOADS)) --output $(BENCH_OUT)/bench.json

bench-peers: stack ## the same work done by Debezium in Kafka Connect, in the same run as ours
	@$(STACK) fetch connect
	$(CARGO) build --workspace --release $(BENCH_BINARIES)
	@set -a && . ./.stack/env && set +a && $(RELEASE)/bench peers --rows $(BENCH_ROWS) --runs $(BENCH_RUNS) --output $(BENCH_OUT)/peers.json

fuzz: install ## run each fuzz target for FUZZ_SECONDS (20)
	@fuzz/run $(FUZZ_SECONDS)

lint: install tools ## formatting, lints, dependencies, spelling, documentation
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error check bans licenses sources
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error --config deny.toml --manifest-path fuzz/Cargo.toml check bans licenses sources
	PATH="$(TOOLS)/bin:$$PATH" cargo-machete
	$(TOOLS)/python/bin/typos

stack: ## install, download and start MySQL, Kafka, a registry and ClickHouse on loopback; addresses in .stack/env
	@$(STACK) up

down: ## stop the demo's pipeline and what `make stack` started
	@if [ -x $(BIN)/demo ]; then $(BIN)/demo stop; fi
	@$(STACK) down

build: stack ## build everything (the stack installs what a build needs)
	$(CARGO) build --workspace --profile $(PROFILE)

install:
	@$(STACK) install

docs: ## write docs/reference/settings.md and checks.md from the code
	$(CARGO) build --workspace --profile $(PROFILE)
	{ $(BIN)/millrace-producer settings; echo; $(BIN)/millrace-consumer settings; } > docs/reference/settings.md
	{ sed '/^## Producer$$/,$$d' docs/reference/checks.md; $(BIN)/millrace-producer checks; echo; $(BIN)/millrace-consumer checks; } > $(BIN)/checks.md
	mv $(BIN)/checks.md docs/reference/checks.md

fmt: ## format the code
	$(CARGO) fmt --all

tools: $(TOOLS)/bin/.cargo-deny-$(CARGO_DENY_VERSION) $(TOOLS)/bin/.cargo-machete-$(CARGO_MACHETE_VERSION) $(TOOLS)/python/bin/.typos-$(TYPOS_VERSION)

# What lint needs, kept in the cache: built once, without the optimisations that nobody waits for here.
TOOL_BUILD := CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

$(TOOLS)/bin/.cargo-deny-$(CARGO_DENY_VERSION):
	$(TOOL_BUILD) $(CARGO) install --locked --root $(TOOLS) --target-dir $(TOOLS)/build cargo-deny@$(CARGO_DENY_VERSION)
	touch $@

$(TOOLS)/bin/.cargo-machete-$(CARGO_MACHETE_VERSION):
	$(TOOL_BUILD) $(CARGO) install --locked --root $(TOOLS) --target-dir $(TOOLS)/build cargo-machete@$(CARGO_MACHETE_VERSION)
	touch $@

$(TOOLS)/python/bin/.typos-$(TYPOS_VERSION):
	python3 -m venv $(TOOLS)/python
	$(TOOLS)/python/bin/pip install --quiet typos==$(TYPOS_VERSION)
	touch $@
