#!/usr/bin/env bash
# Runs the tests in tiers, the cheap ones first, and says at the end what ran and how long it took.
#
#   TIERS        which tiers to run, with commas between (lint,unit,api,node)
#   E2E_CLUSTER  where the node tier runs: local (started here, needs root), kind, or current (what KUBECONFIG names)
set -euo pipefail
cd "$(dirname "$0")/.."
. e2e/setup.sh

all=(lint unit api node)
tiers=${TIERS:-lint,unit,api,node}
cluster=${E2E_CLUSTER:-local}
target=${CARGO_TARGET_DIR:-target}
export E2E_LOGS=$target/e2e-logs
mkdir -p "$target/test-logs"

# One selection of crates for every build, so that no crate is built twice with other features.
tests=(cargo test --workspace --features e2e/cluster)

tier_lint() {
  step "format"
  cargo fmt --all --check
  step "lints"
  cargo clippy --quiet --workspace --all-targets --features e2e/cluster -- -D warnings
  step "documentation"
  RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
  step "licences, sources and banned crates"
  "$(cargo_deny)" check bans licenses sources
}

tier_unit() {
  step "tests without a cluster"
  cargo test --workspace
}

tier_api() {
  need_go
  e2e/cluster/build.sh >/dev/null
  step "tests on an API server"
  cargo build --quiet --workspace --bins --features e2e/cluster
  "${tests[@]}" --test 'api_*'
}

tier_node() {
  step "images"
  TAG=e2e make --no-print-directory image
  step "tests on a node ($cluster)"
  cargo build --quiet --workspace --bins --features e2e/cluster
  "${tests[@]}" --test 'node_*' --no-run
  case $cluster in
    local) node_local ;;
    kind) node_kind ;;
    current) "${tests[@]}" --offline --test 'node_*' ;;
    *) fail "E2E_CLUSTER=$cluster: must be local, kind or current" ;;
  esac
}

node_local() {
  need_root
  need_go
  need_packages "${node_packages[@]}"
  e2e/cluster/build.sh >/dev/null
  # In the cluster's own network there is no way out; all is built by now.
  "$target/debug/cluster" node --images "$target/images" -- "${tests[@]}" --offline --test 'node_*'
}

node_kind() {
  need_command kind "https://kind.sigs.k8s.io"
  need_command docker "kind runs in it"
  export KUBECONFIG=$target/kind.kubeconfig
  trap 'kind delete cluster --name interconn-e2e' EXIT
  kind create cluster --name interconn-e2e --kubeconfig "$KUBECONFIG" --wait 120s
  local archive
  for archive in mesh mesh-operator bank; do
    kind load image-archive "$target/images/$archive.tar" --name interconn-e2e
  done
  "${tests[@]}" --offline --test 'node_*'
}

# --- the run

declare -A result
run() { # TIER
  local log=$target/test-logs/$1.log start=$SECONDS status
  set +e
  (set -e; "tier_$1") 2>&1 | tee -i "$log"
  status=${PIPESTATUS[0]}
  set -e
  local word=passed
  [ "$status" = 0 ] || word=FAILED
  result[$1]=$(awk -v tier="$1" -v word="$word" -v seconds=$((SECONDS - start)) '
    /^== / { steps++ }
    /^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END { printf "%-5s %-7s %5d passed %3d failed %3d ignored %5d s", tier, word, passed + (tier == "lint" ? steps : 0), failed, ignored, seconds }' "$log")
  [ "$status" = 0 ]
}

failed=0
for tier in ${tiers//,/ }; do
  [[ " ${all[*]} " == *" $tier "* ]] || fail "TIERS=$tiers: there is no tier $tier, only ${all[*]}"
done
for tier in "${all[@]}"; do
  if [[ ",$tiers," == *",$tier,"* ]]; then
    run "$tier" || failed=1
  fi
done

echo
for tier in "${all[@]}"; do
  echo "${result[$tier]:-left out: $tier (TIERS=$tiers)}"
done
if [ $failed = 1 ]; then
  echo "logs: $target/test-logs; of the clusters: $E2E_LOGS"
fi
exit $failed
