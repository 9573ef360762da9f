#!/usr/bin/env bash
# A directory's log as the libraries of others read it (transparency-dev: merkle, formats, tessera's client): they accept what the
# directory serves, and refuse it with any byte changed.
#
#   run.sh MESH    the program to test
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$1
work=$(mktemp -d)
node=
cleanup() {
  [ -z "$node" ] || { kill "$node" 2>/dev/null && wait "$node" || true; }
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  tail -n 40 "$work/log" >&2 || true
  echo "directory: $*" >&2
  exit 1
}

recipe=$(cat "$here/verify.go" "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
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
for _ in 1 2 3; do
  read -r data admin < <(free_ports)
  export MESH_HOME=$work/home MESH_ADMIN_LISTEN=127.0.0.1:$admin
  MESH_DIRECTORY=on PLUGIN_PROXY_TRANSPORT_Y=127.0.0.1:$data "$mesh" start --server 2>>"$work/log" &
  node=$!
  base=http://127.0.0.1:$data/datanet/v1
  while kill -0 $node 2>/dev/null && ! curl -sf "$base" >"$work/about"; do sleep 0.1; done
  ! kill -0 $node 2>/dev/null || break
done
kill -0 $node 2>/dev/null || fail "the node does not start"
key=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["logKey"])' "$work/about")
token=$("$mesh" directory token issue --csid yunqi)

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
