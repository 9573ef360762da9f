#!/usr/bin/env bash
# Serves the chat at http://127.0.0.1:8080 until Ctrl-C: a node with the listener of mesh.yaml, and the backend.
#
#   serve.sh MESH    the program; `make demo-grid` builds it and gives its path
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$1
command -v node >/dev/null || { echo "serve.sh: the backend needs Node.js 20 or later (https://nodejs.org)" >&2; exit 1; }
home=$(mktemp -d)
children=()
cleanup() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null && wait "$child" 2>/dev/null || true; done
  rm -rf "$home"
}
trap cleanup EXIT
trap 'exit 0' INT TERM

# Nothing stands in front of it that would have to notice its end.
MESH_HOME=$home MESH_GRID_LISTEN=127.0.0.1:6789 MESH_DRAIN_DELAY=0s "$mesh" start --server --config "$here/mesh.yaml" &
children+=($!)
node --no-warnings --experimental-websocket "$here/backend.mjs" &
children+=($!)
echo "two or more pages: http://127.0.0.1:8080/?name=Ann and http://127.0.0.1:8080/?name=Bob (Ctrl-C ends it)"
wait -n
