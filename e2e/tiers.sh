#!/usr/bin/env bash
# What each tier of the tests does; test.sh runs them and keeps the books. Stops at the first error.
set -euo pipefail
cd "$(dirname "$0")/.."
. e2e/setup.sh
. e2e/twice.sh
. e2e/consent.sh

cluster=${E2E_CLUSTER:-local}
target=${CARGO_TARGET_DIR:-target}

# One selection of crates for every build, so that no crate is built twice with other features. A failure ends no other test.
tests=(cargo test --workspace --no-fail-fast --features e2e/cluster)

# What a build left to be written goes to disk now: tests that wait for fsync would wait for gigabytes of it.
settle() { sync; }

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
  step "scripts"
  command -v shellcheck >/dev/null || need_packages shellcheck
  shellcheck --external-sources e2e/*.sh e2e/cluster/*.sh charts/*.sh
  step "the chart"
  charts/lint.sh "$(helm)"
  charts/promql.sh "$(promql)"
  command -v lua5.4 >/dev/null || need_packages lua5.4
  lua5.4 charts/cases/health.lua docs/examples/argocd/health.yaml
}

tier_unit() {
  # Partners behind nginx, and links that are cut: in network namespaces of their own.
  need_root
  need_packages nginx libnginx-mod-stream iptables iproute2 util-linux
  # What several gateways share their work over.
  NATS_SERVER=$(nats_server)
  NATS_SERVER_OLDEST=$(nats_server "$nats_oldest")
  export NATS_SERVER NATS_SERVER_OLDEST
  # They wait for programs, links and clocks more than they work.
  export RUST_TEST_THREADS=4
  step "tests without a cluster"
  cargo test --quiet --workspace --no-run
  settle
  twice cargo test --workspace --no-fail-fast --
  # Its stand-ins for locks and tasks work under shuttle only, so the feature is on for this one crate alone.
  step "wake-ups in every order (shuttle)"
  cargo test --package mesh-transport --features shuttle --lib wakeups
}

tier_clients() {
  need_go
  need_python
  # The links that are broken lie in network namespaces.
  need_root
  need_packages nginx libnginx-mod-stream haproxy nghttp2-client wrk openssl iptables iproute2 util-linux iputils-ping iperf3
  step "the node for them"
  # As the tiers after this one want it: by itself it would be built once more, with other features.
  cargo build --quiet --workspace --bins --features e2e/cluster
  e2e/clients/run.sh "$target/debug/mesh"
  e2e/services/run.sh "$target/debug/mesh"
  e2e/links/run.sh "$target/debug/mesh"
  need_command node "Node.js 20 or later (https://nodejs.org): the backends of the grid's tests are written in it"
  need_command npm "it comes with Node.js"
  need_packages chromium
  step "the directory: its log in the libraries of others, its page in a browser"
  e2e/directory/run.sh "$target/debug/mesh"
  step "the tunnel: a node and an administrator of LiteKube, grpcurl, programs of others through TUN devices"
  e2e/tunnel/run.sh "$target/debug/mesh"
  step "the grid: without a file, with libraries of others, in a browser"
  e2e/grid/run.sh "$target/debug/mesh"
}

tier_api() {
  need_go
  e2e/cluster/build.sh >/dev/null
  HELM=$(helm)
  export HELM
  DEFINITIONS_OF_OTHERS=$(definitions_of_others)
  export DEFINITIONS_OF_OTHERS
  step "tests on an API server"
  cargo build --quiet --workspace --bins --features e2e/cluster
  # What passes is shown as well: its figures are in the summary.
  "${tests[@]}" --test 'api_*' --no-run
  settle
  twice "${tests[@]}" --test 'api_*' -- --show-output
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
  step "images of others: Envoy and NATS"
  image_of_envoy
  image_of_nats
  "${tests[@]}" --test 'node_*' --no-run
  # They wait for pods more than they work, and each has namespaces of its own.
  export RUST_TEST_THREADS=8
  node_tests=("${tests[@]}" --offline --test 'node_*' -- --show-output)
  case $cluster in
    local) node_local ;;
    kind) node_kind ;;
    current) node_current ;;
    *) fail "E2E_CLUSTER=$cluster: must be local, kind or current" ;;
  esac
}

# The program that the services are tested with, and the libraries that it wants of a machine.
image_of_envoy() {
  need_python
  local envoy libraries=() library
  envoy=$(find "$(e2e/services/build.sh)/python" -path '*/_bin/envoy')
  while read -r library; do libraries+=(--with "$library"); done < <(ldd "$envoy" | grep -o '/[^ ]*')
  "$target/debug/image" localhost/envoy:e2e "$target/images/envoy.tar" "$envoy" "${libraries[@]}"
}

# Several gateways of one node share their work over it.
image_of_nats() {
  need_go
  local nats
  nats=$(nats_server)
  "$target/debug/image" localhost/nats:e2e "$target/images/nats.tar" "$nats"
}

node_local() {
  need_go
  need_packages "${node_packages[@]}"
  e2e/cluster/build.sh >/dev/null
  # In the cluster's own network there is no way out; all is built by now.
  settle
  # Who is asked again gets a cluster of its own.
  twice "$target/debug/cluster" node --images "$target/images" -- "${node_tests[@]}"
}

# What is wanted of a cluster of others stands in README.md.
node_current() {
  need_command kubectl "https://kubernetes.io/docs/tasks/tools"
  [ -n "${KUBECONFIG:-}" ] || fail "E2E_CLUSTER=current: KUBECONFIG must name the cluster, by a whole path"
  may_take_over
  # The release that the tests share; on the other clusters it goes with them.
  trap '"$HELM" uninstall interconn --namespace interconn-system --ignore-not-found' EXIT
  "${node_tests[@]}"
}

node_kind() {
  need_command kind "https://kind.sigs.k8s.io"
  need_command docker "kind runs in it"
  need_command kubectl "https://kubernetes.io/docs/tasks/tools"
  export KUBECONFIG=$target/kind.kubeconfig E2E_IMAGES=$target/images
  trap 'e2e/cluster/kind.sh down' EXIT
  e2e/cluster/kind.sh up "$target/images" "$KUBECONFIG"
  "${node_tests[@]}"
}

"tier_$1"
