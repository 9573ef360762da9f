#!/usr/bin/env bash
# LiteKube's clients at a network controller of ours: a node and an administrator written from the contract with the original's
# libraries, grpcurl as the original's manual has it, and programs of others through TUN devices in network namespaces.
#
#   run.sh MESH [PART...]    the program to test; calls, grpcurl, devices, routes, links, server or a few of them
#
# Needs root, /dev/net/tun, iproute2, util-linux, iptables, ping, iperf3, curl, python3 and Go. What it makes is gone when it ends.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- calls grpcurl devices routes links server
for program in ip nsenter iptables ping iperf3 curl python3; do
  command -v $program >/dev/null || { echo "tunnel: $program is missing (apt: iproute2 util-linux iptables iputils-ping iperf3 curl python3)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "tunnel: network namespaces need root" >&2; exit 1; }
home=$(mktemp -d)
. "$here/../links/net.sh"
trap cleanup EXIT

recipe=$(cat "$here"/*.go "$here/go.mod" "$here/go.sum" | sha256sum | head -c 16)
legacy=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/tunnel-$recipe/legacy
if [ ! -x "$legacy" ]; then
  mkdir -p "$(dirname "$legacy")"
  (cd "$here" && GOTOOLCHAIN=local go build -mod=readonly -o "$home/legacy" .) || fail "the client cannot be built"
  mv "$home/legacy" "$legacy"
fi

# The server, and two machines behind it.
make_net server a b
server=${addresses[server]}
cat >"$home/mesh.yaml" <<YAML
tunnel:
  advertise: $server
  interconnection: true
  forwards: [{port: 80, address: "${addresses[b]}:8000"}]
YAML
serve() { # MODE
  MESH_TUNNEL_MODE="$1" MESH_HOME="$home/server" PLUGIN_PROXY_TRANSPORT_Y=7304 nsenter --net="/run/netns/links-$$-server" \
    "$mesh" start --server --config "$home/mesh.yaml" >>"$home/server.log" 2>&1 &
  pids[server]=$!
  eventually "the server" in_net server curl -sf -o /dev/null http://127.0.0.1:7305/readyz
}
serve Userspace
admin=$home/server/tunnel/admin

# A node of ours, which a token makes.
edge() { # NAME NET OPTION...
  MESH_TUNNEL_TOKEN=$(on server tunnel token create) MESH_HOME="$home/$1" nsenter --net="/run/netns/links-$$-$2" \
    "$mesh" tunnel join "${@:3}" >>"$home/$1.log" 2>&1 &
  pids[$1]=$!
  eventually "the tunnel of $1" grep -sq "joined the tunnel" "$home/$1.log"
}
inner() { sed -n 's/.*joined the tunnel address=\([0-9.]*\).*/\1/p' "$home/$1.log" | tail -n 1; } # NAME

within() { in_net "$1" timeout 120 "${@:2}" >"$home/said" 2>&1 || fail "$1: ${*:2}: $(cat "$home/said")"; } # NET COMMAND...

for part in "$@"; do
  [ -f "$here/parts/$part.sh" ] || fail "there is no part $part"
  . "$here/parts/$part.sh"
done
echo "every client of the tunnel passed: $*"
