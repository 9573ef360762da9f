# One verb per target. Honours CARGO_TARGET_DIR.
.PHONY: build test lint crds bench

build: ## both programs, release
	cargo build --release --locked

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: lint ## everything
	cargo test --workspace --locked

crds: ## writes the CRDs anew from the types
	cargo run -q -p crds > crds/crds.yaml

bench: ## ratios against named peers; needs nginx
	cargo bench -p mesh --bench bench
