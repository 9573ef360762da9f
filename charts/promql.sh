#!/usr/bin/env bash
# Has the chart's alerts and its dashboard read by Prometheus' own parser (e2e/promql).
set -euo pipefail
cd "$(dirname "$0")"
promql=${1:?usage: promql.sh PROMQL}

"$promql" interconn/files/alerts.yaml interconn/files/dashboard.json
# A reader that takes everything would have said the same.
for files in "cases/no-promql/alerts.yaml interconn/files/dashboard.json" "interconn/files/alerts.yaml cases/no-promql/dashboard.json"; do
  # shellcheck disable=SC2086 # two names
  if said=$("$promql" $files 2>&1) || ! grep -qF 'unclosed left parenthesis' <<<"$said"; then
    printf '%s: not refused for its expression:\n%s\n' "$files" "$said" >&2
    exit 1
  fi
done
