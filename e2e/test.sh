#!/usr/bin/env bash
# Runs the tests in tiers, the cheap ones first, and says at the end what ran and how long it took.
#
#   TIERS        which tiers to run, with commas between (lint,unit,clients,api,node)
#   E2E_KUBERNETES  another version for the clusters that are started here, such as 1.33.13 (built anew, 5 minutes, once)
#   E2E_CLUSTER  where the node tier runs: local (started here, needs root), kind, or current (what KUBECONFIG names)
#   E2E_CONSENT  the word without which a cluster of that kind is refused while there are MeshNodes in it (README.md)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "test.sh: $*" >&2; exit 1; }

all=(lint unit clients api node)
tiers=${TIERS:-lint,unit,clients,api,node}
mkdir -p "${CARGO_TARGET_DIR:-target}"
# A whole path: cargo runs tests in their crate's folder, and a relative one would lead elsewhere there.
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
export CARGO_TARGET_DIR=$target E2E_LOGS=$target/e2e-logs
# Here everything is built, mostly from nothing, and nothing is edited in between: what makes the next build quicker only slows this one.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
mkdir -p "$target/test-logs"

declare -A result
run() { # TIER
  local log=$target/test-logs/$1.log start=$SECONDS status
  # A process of its own: bash does not stop at errors in a function whose result somebody asks for.
  set +e
  e2e/tiers.sh "$1" 2>&1 | tee -i "$log"
  status=${PIPESTATUS[0]}
  set -e
  local word=passed
  [ "$status" = 0 ] || word=FAILED
  result[$1]=$(awk -v tier="$1" -v word="$word" -v seconds=$((SECONDS - start)) '
    /^== / { steps++ }
    /^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END {
      # A lint, and what a real client does, is one step that passes or ends the tier.
      if (tier == "lint" || tier == "clients") { failed = word == "FAILED"; passed = steps > failed ? steps - failed : 0 }
      printf "%-7s %-7s %5d passed %3d failed %3d ignored %5d s", tier, word, passed, failed, ignored, seconds
    }' "$log")
  [ "$status" = 0 ]
}

failed=0
for tier in ${tiers//,/ }; do
  [[ " ${all[*]} " == *" $tier "* ]] || fail "TIERS=$tiers: there is no tier $tier, only ${all[*]}"
done
# A group of its own, to end it with all that it started; no session of its own, as Linux shares processors between sessions whatever
# the priorities of what is in them.
set -m
e2e/ahead.sh "$tiers" >"$target/test-logs/ahead.log" 2>&1 </dev/null &
ahead=$!
set +m
trap 'kill -- -$ahead 2>/dev/null || true' EXIT

for tier in "${all[@]}"; do
  if [[ ",$tiers," == *",$tier,"* ]]; then
    run "$tier" || failed=1
  fi
done

echo
for tier in "${all[@]}"; do
  echo "${result[$tier]:-left out: $tier (TIERS=$tiers)}"
done
for tier in "${all[@]}"; do
  [ -z "${result[$tier]:-}" ] || sed -nE "s/^(figure: |(again: ))/$tier: \2/p" "$target/test-logs/$tier.log"
done
if [ $failed = 1 ]; then
  # Who sees only the end of a long output is to see what failed.
  for tier in "${all[@]}"; do
    [[ "${result[$tier]:-}" != *FAILED* ]] ||
      grep -hE '^test .* FAILED|panicked at|^[Ee]rror|×|^[a-z0-9_.]+: ' "$target/test-logs/$tier.log" | tail -n 20 | sed "s/^/$tier: /"
  done
  echo "logs: $target/test-logs; of the clusters: $E2E_LOGS"
fi
exit $failed
