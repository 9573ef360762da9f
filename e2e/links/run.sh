#!/usr/bin/env bash
# Nodes in network namespaces of their own, whose links are slowed, cut and swallowed: by toxiproxy, which stands between two
# nodes, and by iptables, which needs nobody's leave. What is pushed arrives once; what cannot arrive says so in time; each link
# works again without a hand on the nodes.
#
#   run.sh MESH [PART...]    the program to test; two, three or both
#
# Needs root, iproute2, util-linux, iptables, curl, python3 and Go. What it makes is gone when it ends.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- two three
for program in ip nsenter iptables curl python3; do
  command -v $program >/dev/null || { echo "links: $program is missing (apt: iproute2 util-linux iptables curl python3)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "links: network namespaces need root" >&2; exit 1; }
toxiproxy=$("$here/build.sh")/server
home=$(mktemp -d)
. "$here/net.sh"
trap cleanup EXIT

declare -A id=([x]=LX0000010000280 [y]=LX0000010000270 [z]=LX0000010000260)
make_net x y z
start_toxiproxy
for node in x y z; do start_mesh $node; done
for part in "$@"; do
  [ -f "$here/parts/$part.sh" ] || fail "there is no part $part"
  . "$here/parts/$part.sh"
done
echo "every link passed: $*"
