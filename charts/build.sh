#!/usr/bin/env bash
# Packs the chart, and renders it as one file for those who have kubectl alone: build.sh HELM OUT
set -euo pipefail
cd "$(dirname "$0")"
helm=${1:?usage: build.sh HELM OUT} out=${2:?usage: build.sh HELM OUT}
mkdir -p "$out"

"$helm" package --destination "$out" interconn
{
  cat <<'END'
# Interconn as one file: kubectl apply -f interconn.yaml, with --server-side or without
# Rendered from charts/interconn with its defaults; docs/install.md says what differs from `helm install`.
apiVersion: v1
kind: Namespace
metadata:
  name: interconn-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
END
  "$helm" template interconn interconn --namespace interconn-system --no-hooks --skip-tests
} >"$out/interconn.yaml"
echo "$out/interconn.yaml"
