#!/usr/bin/env bash
# Real clients against real nodes, each in a script of its own: the unmodified SDKs, the manuals' curl calls, grpcurl, h2spec.
#
#   run.sh MESH [CLIENT...]    the program to test; sdk, curl, grpcurl, h2spec or a few of them
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$1
shift
[ $# -gt 0 ] || set -- sdk curl grpcurl h2spec
tools=$("$here/build.sh")
work=$(mktemp -d)
nodes=()
cleanup() {
  for node in "${nodes[@]}"; do kill "$node" 2>/dev/null && wait "$node" || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  for log in "$work"/*.log; do echo "== the log of $log" >&2 && tail -n 40 "$log" >&2; done
  echo "clients: $*" >&2
  exit 1
}

# Two ports that nobody has at the moment; where somebody takes one in between, the node ends and others are tried.
free_ports() {
  python3 -c 'import socket; s = [socket.create_server(("127.0.0.1", 0)) for _ in "ab"]; print(*(x.getsockname()[1] for x in s))'
}

# Small enough to be exceeded.
echo 'transport: {maxBodyBytes: 8Mi}' >"$work/mesh.yaml"

start() { # NAME; sets `address`
  local data admin node
  for _ in 1 2 3; do
    read -r data admin < <(free_ports)
    MESH_HOME=$work/$1 PLUGIN_PROXY_TRANSPORT_Y=127.0.0.1:$data MESH_ADMIN_LISTEN=127.0.0.1:$admin \
      "$mesh" start --server --config "$work/mesh.yaml" 2>>"$work/$1.log" &
    node=$!
    address=127.0.0.1:$data
    while kill -0 $node 2>/dev/null; do
      if curl -sf "http://$address/stats" >/dev/null; then
        nodes+=("$node")
        return
      fi
      sleep 0.1
    done
  done
  fail "the node $1 does not start"
}

start x
MESH_X=$address
start y
export TOOLS=$tools WORK=$work MESH_X MESH_Y=$address
for client in "$@"; do
  [ -x "$here/$client.sh" ] || fail "there is no client $client"
  "$here/$client.sh" || fail "$client"
done
echo "every client passed: $*"
