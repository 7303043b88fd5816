.DEFAULT_GOAL := help
.PHONY: help check test

help: ## what can be made
	@awk -F ': .*## ' '/^[a-z][a-z-]*:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## form, lints and unit tests: under two minutes once built
	@config/ci/suites check

test: ## everything, also on a real Kubernetes; as root on this machine's own kubelet too
	@config/ci/suites test

# Which tests of src/sim; LAYER=wire: the real manager, else its model; HOOKS=1: sets with lifecycle hooks.
SIMULATION = cargo test --quiet --profile sim --lib -- --exact --nocapture sim::tests::
SEEDED = $(if $(filter wire,$(LAYER)),the_real_manager_keeps_every_property,every_seed_keeps_every_property)$(if $(HOOKS),_with_hooks)

.PHONY: sim sim-night mutants

sim: ## one simulated run again (SEED=7 TRACE=1 LAYER=wire HOOKS=1)
	@SIM_SEED=$(or $(SEED),$(error say which: SEED=7)) SIM_TRACE=$(TRACE) $(SIMULATION)$(SEEDED)

sim-night: ## simulated runs on all cores for a time (SECONDS=3600); fails with the first failure, made small
	@SIM_SECONDS=$(or $(SECONDS),3600) $(SIMULATION)a_night

mutants: ## how many of so many seeds notice each fault that is put in on purpose (SEEDS=300)
	@SIM_MUTANT_SEEDS=$(or $(SEEDS),300) $(SIMULATION)every_mutant_is_caught

.PHONY: crds

crds: ## write the definition, its reference page, docs/inplace.md and docs/kubectl-asts.md again
	@cargo run --quiet --bin crdgen > crds/advancedstatefulsets.yaml.new && mv crds/advancedstatefulsets.yaml.new crds/advancedstatefulsets.yaml
	@cargo run --quiet --bin crdgen -- --docs > docs/api.md.new && mv docs/api.md.new docs/api.md
	@cargo run --quiet --bin crdgen -- --inplace docs/inplace-trace.md > docs/inplace.md.new && mv docs/inplace.md.new docs/inplace.md
	@cargo run --quiet --bin crdgen -- --cli > docs/kubectl-asts.md.new && mv docs/kubectl-asts.md.new docs/kubectl-asts.md

.PHONY: screens

screens: ## run the main views in a terminal on a real cluster and draw them into docs/screens
	@ASTS_SCREENS=$(CURDIR)/docs/screens cargo test --quiet --test e2e -- cli_screens::

.PHONY: trace

trace: ## how many re-creations are avoided over a made-up trace of changes; writes docs/inplace-trace.md
	@cargo run --quiet --example trace -- --write

# The demo and the benchmark run the manager as it is released.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
MANAGER = $(abspath $(or $(CARGO_TARGET_DIR),target))/$(HOST)/release/asts-manager

PLUGIN = $(abspath $(or $(CARGO_TARGET_DIR),target))/$(HOST)/release/kubectl-asts
ARCHITECTURE = $(or $(patsubst x86_64,amd64,$(filter x86_64,$(firstword $(subst -, ,$(HOST))))),arm64)

.PHONY: demo bench manager plugin plugin-archive

plugin: ## build kubectl-asts as it is released: one static file; put it on the PATH for kubectl asts
	cargo build --release --config config/rust/static.toml --target $(HOST) --bin kubectl-asts

plugin-archive: plugin ## pack it for krew, into target/krew (ADDRESS=https://… from where it will be had)
	@config/krew/pack target/krew $(or $(ADDRESS),https://example.com/releases/download) linux-$(ARCHITECTURE)=$(PLUGIN)

manager: ## build the manager as it is released: one static file
	cargo build --release --config config/rust/static.toml --target $(HOST) --bin asts-manager

# Untried where this was written: there was no container engine.
IMAGE ?= asts-manager:0.1.0

.PHONY: image

image: manager ## put the manager into a container image with docker (IMAGE=asts-manager:0.1.0)
	docker build --tag $(IMAGE) --file config/manager/Dockerfile $(dir $(MANAGER))

demo: manager ## five Pods updated in place under traffic: a real cluster, and as root a real node
	cargo build --test demo
	@ASTS_MANAGER=$(MANAGER) cargo test --quiet --test demo

bench: manager ## beside the native controller and a bare client; writes docs/benchmarks.md (BENCH_FULL=1 BENCH_NODE=1 BENCH_ROUNDS=3)
	@ASTS_MANAGER=$(MANAGER) cargo test --profile measure --test bench

# Targets of the test clusters (e2e/cluster).
PROVIDER ?= local
NAME ?= dev

.PHONY: cluster-build cluster-up cluster-down cluster-clean cluster-test cluster-check

cluster-build: ## build everything that the test clusters run
	e2e/cluster/asts-cluster build --customised

cluster-up: ## run a test cluster in the background (PROVIDER=local|node|kind NAME=dev CUSTOMISED=1 STOCK_NODE=1)
	e2e/cluster/asts-cluster up --provider $(PROVIDER) --name $(NAME) $(if $(CUSTOMISED),--customised) $(if $(STOCK_NODE),--stock-node)

cluster-down: ## end a test cluster (NAME=dev)
	e2e/cluster/asts-cluster down --name $(NAME)

cluster-clean: ## remove what killed test clusters left
	e2e/cluster/asts-cluster clean

cluster-test: ## the tests of the test clusters
	cd e2e/cluster && go vet ./... && go test ./...

cluster-check: ## try what the test clusters promise, on running ones (PROVIDER=local,node)
	cd e2e/cluster && ASTS_CLUSTER_LIVE=$(PROVIDER) go test -count=1 -v .
