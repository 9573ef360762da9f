#!/usr/bin/env bash
# What each tier of the tests does; test.sh runs them and keeps the books. Stops at the first error.
set -euo pipefail
cd "$(dirname "$0")/.."
. e2e/setup.sh

cluster=${E2E_CLUSTER:-local}
target=${CARGO_TARGET_DIR:-target}

# One selection of crates for every build, so that no crate is built twice with other features.
tests=(cargo test --workspace --features e2e/cluster)

tier_lint() {
  step "format"
  cargo fmt --all --check
  step "lints"
  cargo clippy --quiet --workspace --all-targets --features e2e/cluster -- -D warnings
  step "documentation"
  # Links to private items help those who read the source.
  RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --quiet --workspace --no-deps
  step "licences, sources and banned crates"
  "$(cargo_deny)" check bans licenses sources
  step "the chart"
  charts/lint.sh "$(helm)"
  command -v lua5.4 >/dev/null || need_packages lua5.4
  lua5.4 charts/cases/health.lua docs/examples/argocd/health.yaml
}

tier_unit() {
  # Partners behind nginx, and links that are cut: in network namespaces of their own.
  need_root
  need_packages nginx libnginx-mod-stream iptables iproute2 util-linux
  step "tests without a cluster"
  cargo test --workspace
  # Its stand-ins for locks and tasks work under shuttle only, so the feature is on for this one crate alone.
  step "wake-ups in every order (shuttle)"
  cargo test --package mesh-transport --features shuttle --lib wakeups
}

tier_clients() {
  need_go
  need_python
  # The links that are broken lie in network namespaces.
  need_root
  need_packages nginx libnginx-mod-stream haproxy nghttp2-client wrk openssl iptables iproute2 util-linux
  step "the node for them"
  cargo build --quiet --package mesh
  e2e/clients/run.sh "$target/debug/mesh"
  e2e/services/run.sh "$target/debug/mesh"
  e2e/links/run.sh "$target/debug/mesh"
}

tier_api() {
  need_go
  e2e/cluster/build.sh >/dev/null
  HELM=$(helm)
  export HELM
  step "tests on an API server"
  cargo build --quiet --workspace --bins --features e2e/cluster
  "${tests[@]}" --test 'api_*'
}

tier_node() {
  # A test kills pods' programs from outside, wherever the cluster comes from.
  need_root
  HELM=$(helm)
  export HELM
  step "images"
  TAG=e2e make --no-print-directory image
  step "tests on a node ($cluster)"
  cargo build --quiet --workspace --bins --features e2e/cluster
  "${tests[@]}" --test 'node_*' --no-run
  case $cluster in
    local) node_local ;;
    kind) node_kind ;;
    current) node_current ;;
    *) fail "E2E_CLUSTER=$cluster: must be local, kind or current" ;;
  esac
}

node_local() {
  need_go
  need_packages "${node_packages[@]}"
  e2e/cluster/build.sh >/dev/null
  # In the cluster's own network there is no way out; all is built by now.
  "$target/debug/cluster" node --images "$target/images" -- "${tests[@]}" --offline --test 'node_*'
}

# What is wanted of a cluster of others stands in README.md.
node_current() {
  need_command kubectl "https://kubernetes.io/docs/tasks/tools"
  [ -n "${KUBECONFIG:-}" ] || fail "E2E_CLUSTER=current: KUBECONFIG must name the cluster, by a whole path"
  "${tests[@]}" --offline --test 'node_*'
}

node_kind() {
  need_command kind "https://kind.sigs.k8s.io"
  need_command docker "kind runs in it"
  need_command kubectl "https://kubernetes.io/docs/tasks/tools"
  export KUBECONFIG=$target/kind.kubeconfig
  trap 'kind delete cluster --name interconn-e2e' EXIT
  kind create cluster --name interconn-e2e --kubeconfig "$KUBECONFIG" --wait 120s
  local archive
  for archive in mesh mesh-operator bank; do
    kind load image-archive "$target/images/$archive.tar" --name interconn-e2e
  done
  "${tests[@]}" --offline --test 'node_*'
}

"tier_$1"
