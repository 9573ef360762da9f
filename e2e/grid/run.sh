#!/usr/bin/env bash
# A node's grid as others see it: it stands without a file, libraries of others compress, a browser chats, and the Autobahn suite
# asks whether its WebSocket is one.
#
#   run.sh MESH [PART...]    the program to test; of bare, peers, chat and autobahn all but the last unless named
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- bare peers chat
work=$(mktemp -d)
children=()
cleanup() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null && wait "$child" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  for log in "$work"/*.log; do echo "== the log of $log" >&2 && tail -n 40 "$log" >&2; done
  echo "grid: $*" >&2
  exit 1
}

# Ports that nobody has at the moment; where somebody takes one in between, the node ends and others are tried.
free_ports() {
  python3 -c 'import socket; s = [socket.create_server(("127.0.0.1", 0)) for _ in "abcde"]; print(*(x.getsockname()[1] for x in s))'
}

# A node with the grid of a file; sets `backends`, `clients` and `page`, ports of 127.0.0.1.
start() { # NAME FILE
  local data admin node
  for _ in 1 2 3; do
    read -r data admin backends clients page < <(free_ports)
    sed "s/8080/$page/g" "$2" >"$work/$1.yaml"
    MESH_HOME=$work/$1 PLUGIN_PROXY_TRANSPORT_Y=127.0.0.1:$data MESH_ADMIN_LISTEN=127.0.0.1:$admin \
      MESH_GRID_LISTEN=127.0.0.1:$backends MESH_GRID_CLIENT_LISTEN=127.0.0.1:$clients \
      "$mesh" start --server --config "$work/$1.yaml" 2>>"$work/$1.log" &
    node=$!
    while kill -0 $node 2>/dev/null; do
      if curl -sf "http://127.0.0.1:$data/stats" >/dev/null; then
        children+=("$node")
        return
      fi
      sleep 0.1
    done
  done
  fail "the node $1 does not start"
}

for part in "$@"; do
  case $part in
    bare) ;;
    autobahn | peers) start "$part" "$here/echo.yaml" ;;
    chat) start chat "$here/../../docs/examples/chat/mesh.yaml" ;;
    *) fail "there is no part $part" ;;
  esac
  WORK=$work MESH=$mesh BACKENDS=${backends:-} CLIENTS=${clients:-} PAGE=${page:-} "$here/$part.sh" || fail "$part"
done
echo "the grid passed: $*"
