#!/usr/bin/env bash
# A directory's log as the libraries of others read it (transparency-dev: merkle, formats, tessera's client): they accept what the
# directory serves, and refuse it with any byte changed. A witness of others signs it, and it signs for a log of others (tessera). And its
# page, in a browser.
#
#   run.sh MESH    the program to test
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$1
work=$(mktemp -d)
nodes=() asked=()
cleanup() {
  for node in "${nodes[@]}"; do kill "$node" 2>/dev/null && wait "$node" || true; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  tail -n 40 "$work/nodes.log" >&2 || true
  echo "directory: $*" >&2
  exit 1
}

recipe=$(cat "$here"/*.go "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
verify=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/directory-$recipe/verify
if [ ! -x "$verify" ]; then
  mkdir -p "$(dirname "$verify")"
  (cd "$here" && GOTOOLCHAIN=local go build -mod=readonly -o "$work/verify" .) || fail "the verifier cannot be built"
  mv "$work/verify" "$verify"
fi

# Two ports that nobody has at the moment; where somebody takes one in between, the node ends and others are tried.
free_ports() {
  python3 -c 'import socket; s = [socket.create_server(("127.0.0.1", 0)) for _ in "ab"]; print(*(x.getsockname()[1] for x in s))'
}
# A node with the directory of a file; sets `base`, `data`, `admin` and `node`. With ports: at these.
start() { # NAME FILE [DATA ADMIN]
  for _ in 1 2 3; do
    read -r data admin < <([ $# -gt 2 ] && echo "$3 $4" || free_ports)
    MESH_HOME=$work/$1 MESH_ADMIN_LISTEN=127.0.0.1:$admin PLUGIN_PROXY_TRANSPORT_Y=127.0.0.1:$data \
      "$mesh" start --server --config "$2" 2>>"$work/nodes.log" &
    node=$!
    base=http://127.0.0.1:$data/datanet/v1
    while kill -0 $node 2>/dev/null; do
      if curl -sf "$base" >"$work/$1.about"; then
        nodes+=("$node")
        return
      fi
      sleep 0.1
    done
  done
  fail "the node $1 does not start"
}

about() { # NAME MEMBER [public]: what a node says of itself; of a verifier's key the public key alone
  python3 - "$work/$1.about" "$2" "${3:-}" <<'PYTHON'
import base64, json, sys

said = json.load(open(sys.argv[1]))[sys.argv[2]]
print(base64.b64encode(base64.b64decode(said.split("+", 2)[2])[1:]).decode() if sys.argv[3] else said)
PYTHON
}

echo 'directory: {origin: witness.example/datanet}' >"$work/witness.yaml"
echo 'directory: {origin: log.example/datanet}' >"$work/log.yaml"
start witness "$work/witness.yaml"
read -r witness witness_data witness_admin <<<"$node $data $admin"
start log "$work/log.yaml"
read -r log log_data log_admin <<<"$node $data $admin"
key=$(about log logKey)
token=$(MESH_HOME=$work/log MESH_ADMIN_LISTEN=127.0.0.1:$log_admin "$mesh" directory token issue --csid yunqi)

write() { # N: so many entries more
  python3 - "$base" "$token" "$1" <<'PYTHON'
import json, sys, urllib.request

base, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = json.load(urllib.request.urlopen(base))["size"]
one = lambda n: {"header": {"version": "datanet 1.0", "operation": "connect"}, "body": {"id": "yunqi", "endpoint": f"h{n}:1"}}
body = {"body": {"messages": [one(start + n) for n in range(count)]}}
headers = {"Authorization": f"Bearer {token}"}
answer = json.load(urllib.request.urlopen(urllib.request.Request(base + "/batch", json.dumps(body).encode(), headers)))
wrong = [one for one in answer["answers"] if one["code"] != 200]
assert not wrong, wrong
PYTHON
}

# Around the bounds of tiles: one leaf, a tile that is nearly full, full, and one leaf more.
size=0
for next in 1 2 255 256 257; do
  write $((next - size)) || fail "entries are not taken"
  size=$next
  "$verify" "$base" "$token" "$key" >"$work/said" || fail "the log of $size entries is refused"
done
cat "$work/said"
echo "directory: every log of 1 to $size entries is accepted as it is, and no other"

# The same with witnesses, ours and that of transparency-dev: the libraries know their signatures, and each of the log's.
"$verify" witness "$key" >"$work/stock" 2>>"$work/nodes.log" &
nodes+=($!)
for _ in $(seq 600); do
  [ -s "$work/stock" ] && break
  sleep 0.1
done
read -r stock_key stock_address <"$work/stock" || fail "the witness of transparency-dev does not start"
stock_public=$(python3 -c 'import base64, sys; print(base64.b64encode(base64.b64decode(sys.argv[1].split("+", 2)[2])[1:]).decode())' "$stock_key")
read -r stock_log_secret stock_log_key <<<"$("$verify" key)"
stock_log_public=$(python3 -c 'import base64, sys; print(base64.b64encode(base64.b64decode(sys.argv[1].split("+", 2)[2])[1:]).decode())' "$stock_log_key")
cat >"$work/witness.yaml" <<YAML
directory:
  origin: witness.example/datanet
  witnessFor:
    - {origin: log.example/datanet, publicKey: "$(about log logKey public)"}
    - {origin: stock.example/log, publicKey: "$stock_log_public"}
YAML
cat >"$work/log.yaml" <<YAML
directory:
  origin: log.example/datanet
  maxMergeDelay: 1h
  witnesses:
    quorum: 2
    members:
      - {name: witness.example/datanet, url: "http://127.0.0.1:$witness_data/datanet/v1", publicKey: "$(about witness witnessKey public)"}
      - {name: stock.example/witness, url: "http://$stock_address", publicKey: "$stock_public"}
YAML
kill "$witness" "$log"
wait "$witness" "$log" || true
start witness "$work/witness.yaml" "$witness_data" "$witness_admin"
start log "$work/log.yaml" "$log_data" "$log_admin"
for next in 258 300; do
  write $((next - size)) || fail "entries are not taken"
  size=$next
  "$verify" "$base" "$token" "$key" "$(about witness witnessKey)" "$stock_key" >"$work/said" || fail "the cosigned log is refused"
done
cat "$work/said"
echo "directory: what a witness signed is accepted as it is, ours and that of others"
"$verify" witnessed "http://127.0.0.1:$witness_data/datanet/v1" "$(about witness witnessKey)" "$stock_log_secret" "$stock_log_key" 2>>"$work/nodes.log" ||
  fail "a log of others is not signed as it should be"

# The published schemas, by a validator of others.
for kind in lenient strict; do
  echo "directory: {origin: $kind.example/datanet, strict: $([ $kind = strict ] && echo true || echo false)}" >"$work/$kind.yaml"
  start $kind "$work/$kind.yaml"
  asked+=("$base" "$(MESH_HOME=$work/$kind MESH_ADMIN_LISTEN=127.0.0.1:$admin "$mesh" directory token issue --csid yunqi)")
done
"$verify" schemas "${asked[@]}" || fail "the schemas are not those of the directory"
base=http://127.0.0.1:$log_data/datanet/v1

# The page, with all kinds of records.
say() { # PATH BODY
  curl -sf "$base/$1" -H "Authorization: Bearer $token" -d "{\"header\": {\"version\": \"datanet 1.0\"}, \"body\": $2}" >"$work/said" || fail "$1 is not taken"
}
say adapter-classes/sync '{"csid": "yunqi", "adapterClasses": [{"className": "odps-adapter", "protocol": {"name": "ODPS", "version": "1"}, "params": {"b": 1.50, "a": [1e3, "\u00e9"]}}, {"className": "odps-2.0", "protocol": {"name": "ODPS", "version": "2"}}, {"className": "yunqi", "protocol": {"name": "MySQL", "version": "5.7"}}]}'
say data-systems/sync '{"csid": "yunqi", "dataSystems": [{"dataAddress": "yunqi.1F", "name": "a name that is shown as it is: <b>&amp;</b>", "endpoint": "a:1", "adapterClass": "odps-adapter"}, {"dataAddress": "yunqi.2F", "name": "n", "endpoint": "a:1", "adapterClass": "mysql-5.7"}]}'
other=$(MESH_HOME=$work/log MESH_ADMIN_LISTEN=127.0.0.1:$log_admin "$mesh" directory token issue --csid other)
WORK=$work BASE=http://127.0.0.1:$log_data/datanet TOKEN=$token OTHER=$other ENTRIES=$((size + 2)) "$here/page.sh" || fail "the page"
