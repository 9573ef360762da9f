#!/usr/bin/env bash
# A node with MESH_GRID_LISTEN and nothing else: there is one listener, at 6790. In a network of its own, for the port is fixed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "${1:-}" = inside ] || exec unshare --net "$0" inside "$@"
ip link set lo up
MESH_HOME=$WORK/bare MESH_GRID_LISTEN=6789 "$MESH" start --server 2>"$WORK/bare.log" &
node=$!
trap 'kill $node 2>/dev/null || true' EXIT
for _ in $(seq 600); do
  if curl -sf http://127.0.0.1:6789/metrics >/dev/null; then
    timeout 60 node --no-warnings --experimental-websocket "$here/bare.mjs"
    exit
  fi
  kill -0 $node 2>/dev/null || break
  sleep 0.1
done
echo "bare: the node does not start" >&2
exit 1
