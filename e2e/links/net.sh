# Namespaces, what runs in them, and what happens to the links between; run.sh sources it.
#
# Each node has a namespace with one leg on a bridge, which lies in a namespace of its own: 10.99.0.1 there is toxiproxy's,
# 10.99.0.11 and so on are the nodes'. Nothing of it can be seen from the machine's own network.
declare -A pids addresses
hub=links-$$-hub

cleanup() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  for node in "${!addresses[@]}"; do ip netns del "links-$$-$node" 2>/dev/null || true; done
  ip netns del "$hub" 2>/dev/null || true
  rm -rf "$home"
}
fail() {
  for log in "$home"/*.log; do echo "== $log" >&2 && tail -n 30 "$log" >&2; done
  echo "links: $*" >&2
  exit 1
}
step() { echo "== $*"; }

in_hub() { nsenter --net="/run/netns/$hub" "$@"; }
in_net() { # NODE COMMAND...
  local node=$1
  shift
  nsenter --net="/run/netns/links-$$-$node" "$@"
}

make_net() { # NODE...
  local node n=10
  ip netns add "$hub"
  in_hub ip link set lo up
  in_hub ip link add bridge type bridge
  in_hub ip addr add 10.99.0.1/24 dev bridge
  in_hub ip link set bridge up
  for node in "$@"; do
    n=$((n + 1))
    addresses[$node]=10.99.0.$n
    ip netns add "links-$$-$node"
    in_hub ip link add "to-$node" type veth peer name leg netns "/run/netns/links-$$-$node"
    in_hub ip link set "to-$node" master bridge up
    in_net "$node" ip link set lo up
    in_net "$node" ip addr add "10.99.0.$n/24" dev leg
    in_net "$node" ip link set leg up
  done
}

eventually() { # WHAT COMMAND...: within a minute
  local what=$1
  shift
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.2
  done
  fail "waited a minute for $what"
}

start_toxiproxy() {
  LOG_LEVEL=info nsenter --net="/run/netns/$hub" "$toxiproxy" -host 127.0.0.1 -port 8474 >"$home/toxiproxy.log" 2>&1 &
  pids[toxiproxy]=$!
  eventually "toxiproxy" in_hub curl -sf -o /dev/null http://127.0.0.1:8474/version
}
toxiproxy() { # METHOD PATH [JSON]
  in_hub curl -sSf -o /dev/null -X "$1" "http://127.0.0.1:8474$2" ${3:+-d "$3"} || fail "toxiproxy: $*"
}
link() { # NAME PORT NODE: a link through toxiproxy
  toxiproxy POST /proxies "{\"name\":\"$1\",\"listen\":\"10.99.0.1:$2\",\"upstream\":\"${addresses[$3]}:7304\"}"
}
poison() { # LINK TYPE STREAM ATTRIBUTES
  toxiproxy POST "/proxies/$1/toxics" "{\"name\":\"$2-$3\",\"type\":\"$2\",\"stream\":\"$3\",\"attributes\":{$4}}"
}
cure() { toxiproxy DELETE "/proxies/$1/toxics/$2-$3"; } # LINK TYPE STREAM
cut() { toxiproxy POST "/proxies/$1" '{"enabled":false}'; }
mend() { toxiproxy POST "/proxies/$1" '{"enabled":true}'; }

# What comes to a node from another's address vanishes, or is refused, until it is let through again.
firewall() { # -A|-D NODE FROM TARGET...
  local verb=$1 node=$2 from=$3
  shift 3
  in_net "$node" iptables "$verb" INPUT -s "$from" -p tcp --dport 7304 -j "$@"
}

start_mesh() { # NODE
  # Not through `in_net`: of a function in the background, the pid would be its shell's, and the node outlive the test.
  MESH_HOME="$home/$1" PLUGIN_PROXY_TRANSPORT_Y=7304 nsenter --net="/run/netns/links-$$-$1" "$mesh" start --server \
    >>"$home/$1.log" 2>&1 &
  pids[$1]=$!
  eventually "the node $1" in_net "$1" curl -sf -o /dev/null http://127.0.0.1:7305/readyz
}
on() { # NODE COMMAND...: of the command line, for that node
  local node=$1
  shift
  MESH_HOME="$home/$node" in_net "$node" "$mesh" "$@"
}

# Who a node is, and its root in a file.
named() { # NODE
  local inst=JG01${id[$1]:8:6}00000000
  in_net "$1" curl -sS http://127.0.0.1:7304/v1/interconn/node/refresh -H 'content-type: application/json' \
    -d "{\"node_id\":\"${id[$1]}\",\"inst_id\":\"$inst\",\"name\":\"$1\"}" | grep -q E0000000000 || fail "the identity of $1"
  on "$1" exec -m mesh.net.environ | python3 -c 'import json, sys; print(json.load(sys.stdin)["root_crt"])' >"$home/$1.crt"
}
know() { # NODE PARTNER AT
  on "$1" route add "${id[$2]}" --inst "JG01${id[$2]:8:6}00000000" --at "$3" --root "$home/$2.crt" >/dev/null
}

push() { # FROM TO TOPIC TEXT [TIMEOUT]
  on "$1" push "$3" --session s --target-node "${id[$2]}" --timeout "${5:-20s}" - <<<"$4" >"$home/said" 2>&1
}
refused() { # CODE FROM TO: a push ends with that code, and soon
  push "$2" "$3" refused x 5s && fail "a push from $2 to $3 went through"
  grep -q "$1" "$home/said" || fail "a push from $2 to $3 says: $(cat "$home/said")"
}
pops() { # NODE TOPIC TEXT
  [ "$(on "$1" pop "$2" --session s --timeout 20s | sed "s/ *$//")" = "$3" ] || fail "$1 pops something else of $2"
}
# Everything that was pushed is there, in its order, and nothing twice.
pops_all() { # NODE TOPIC COUNT
  local n
  for n in $(seq "$3"); do pops "$1" "$2" "message $n"; done
  on "$1" pop "$2" --session s --timeout 300ms >/dev/null 2>&1 && fail "$1 has more in $2 than was pushed"
  return 0
}
goes() { push "$1" "$2" goes again 5s && pops "$2" goes again; } # FROM TO
