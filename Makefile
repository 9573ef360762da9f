# One verb per target. CARGO_TARGET_DIR is honoured; see CONTRIBUTING.md for what each layer of tests proves.

SHELL := /bin/bash
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := $(TARGET)/$(HOST)/release
IMAGES := $(TARGET)/images
TAG ?= dev

.PHONY: help build demo demo-grid test e2e lint crds chart programs image install bench fuzz soak clean-cluster
help: ## Show the verbs
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

build: ## Build everything
	$(CARGO) build --workspace --bins

demo: ## Two banks on this machine: a file and a call over mutual TLS
	@$(CARGO) build --quiet --locked -p mesh -p mesh-operator -p demo
	@$(CARGO) run --quiet --locked -p demo

demo-grid: ## A chat in the browser through a node's grid, at http://127.0.0.1:8080 (Node.js 20 or later)
	@$(CARGO) build --quiet --locked -p mesh
	@docs/examples/chat/serve.sh $(TARGET)/debug/mesh

test: ## Run every test, in tiers: lint, unit, clients, api, node (TIERS=unit,api; E2E_CLUSTER=local|kind|current)
	e2e/test.sh

e2e: ## Run the tests that need a Kubernetes, which they start themselves
	TIERS=api,node e2e/test.sh

lint: ## Check format, lints, docs, licences and banned crates
	TIERS=lint e2e/test.sh

crds: ## Write the CRDs' YAML anew from the types
	$(CARGO) run --quiet -p crds > $(TARGET)/crds.yaml
	cp $(TARGET)/crds.yaml crds/crds.yaml
	cp $(TARGET)/crds.yaml charts/interconn/files/crds.yaml

chart: ## Lint the Helm chart, pack it, and render it as one file for kubectl, to TARGET/charts
	@. e2e/setup.sh && helm=$$(helm) && charts/lint.sh $$helm && charts/build.sh $$helm $(abspath $(TARGET))/charts

# Static programs, one in each image; `--target`, because without it the flag breaks build scripts.
programs:
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --release --target $(HOST) \
		-p mesh -p mesh-operator -p e2e --bin mesh --bin mesh-operator --bin image --bin pause --bin bank

image: programs ## Write image archives for this machine's processor to TARGET/images, without a container engine
	$(STATIC)/image localhost/mesh:$(TAG) $(IMAGES)/mesh.tar $(STATIC)/mesh \
		--command start --command --server --folder /mesh --env MESH_HOME=/mesh --at-most 40
	$(STATIC)/image localhost/mesh-operator:$(TAG) $(IMAGES)/mesh-operator.tar $(STATIC)/mesh-operator --command run
	$(STATIC)/image localhost/pause:e2e $(IMAGES)/pause.tar $(STATIC)/pause
	$(STATIC)/image localhost/bank:e2e $(IMAGES)/bank.tar $(STATIC)/bank

# The tag names what is in the images, this file's part included: nodes pull no tag twice, and what was built anew must run.
install: TAG = $(shell sed -n 's/^appVersion: //p' charts/interconn/Chart.yaml)-$(shell cat $(STATIC)/mesh $(STATIC)/mesh-operator Makefile 2>/dev/null | sha256sum | cut -c1-12)
install: image ## Bring images and chart to kubectl's cluster: REGISTRY=registry.example/team, or none for kind and for a node that is this machine
	@charts/install.sh $(IMAGES) $(TAG)

bench: ## Figures as ratios against named peers of the same run, which it installs (BENCH=pairs: one part; BENCH_ROUNDS=5, BENCH_SECONDS=3)
	$(if $(filter-out lookup,$(or $(BENCH),all)),$(CARGO) bench -p mesh --bench bench -- $(filter-out lookup,$(BENCH)))
	$(if $(filter lookup,$(or $(BENCH),lookup)),$(CARGO) bench -p mesh-registry --bench lookup)

fuzz: ## Run the fuzz targets, guided by coverage (FUZZ_SECONDS=60 for each; FUZZ_TARGET=name: one of them)
	sidecar/fuzz/fuzz.sh

# The wake-ups of many threads, a million of them, then the nodes.
soak: ## Push, pop, kill and cancel for SOAK_SECONDS (600) and ROUNDS (20), and account for every message
	WAKEUPS=1000000 $(CARGO) test --release -p mesh-transport --test it wakeups
	SOAK_SECONDS=$(or $(SOAK_SECONDS),600) $(CARGO) test --release -p mesh --test nodes soak -- --nocapture
	. e2e/setup.sh && NATS_SERVER=$$(nats_server) ROUNDS=$(or $(ROUNDS),20) $(CARGO) test --release -p mesh --test nodes rounds_of_kills -- --nocapture

clean-cluster: ## Take down what a killed test run left
	$(CARGO) run --quiet -p e2e --bin cluster clear
