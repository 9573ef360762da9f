#!/usr/bin/env bash
# Real clients against one node: the unmodified SDK in both its modes, grpcurl by reflection, h2spec on the h2c and TLS ports.
#
#   run.sh MESH    the program to test
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$("$here/build.sh")
home=$(mktemp -d)
port=$((20000 + RANDOM % 5000 * 2))
address=127.0.0.1:$port

MESH_HOME=$home PLUGIN_PROXY_TRANSPORT_Y=$address MESH_ADMIN_LISTEN=127.0.0.1:$((port + 1)) "$1" start --server 2>"$home/log" &
node=$!
trap 'kill $node; wait $node 2>/dev/null || true; rm -rf "$home"' EXIT
fail() { echo "clients: $*" >&2; cat "$home/log" >&2; exit 1; }
for _ in $(seq 100); do
  curl -sf "http://$address/stats" >/dev/null && break
  kill -0 $node || fail "the node ended"
  sleep 0.1
done

for mode in grpc http; do
  echo "== imesh 0.0.29.12 over $mode"
  MESH_ADDRESS=$address MESH_BFIA_PROTO=$mode timeout 60 "$tools/python/bin/python" "$here/sdk.py" "$mode" >"$home/sdk" 2>&1 ||
    { cat "$home/sdk"; fail "the SDK over $mode"; }
done

echo "== grpcurl by reflection"
service=org.ppc.ptp.PrivateTransferTransport
grpcurl() { "$tools/grpcurl" -plaintext "$@"; }
grpcurl "$address" list | grep -qx "$service" || fail "the services are not listed"
grpcurl -d '{"service":"mesh-rpc"}' "$address" grpc.health.v1.Health/Check | grep -q '"SERVING"' || fail "health"
grpcurl -d '{"topic":"t","payload":"aGVsbG8="}' "$address" $service/push | grep -q E0000000000 || fail "push"
grpcurl -d '{"topic":"t","timeout":5000}' "$address" $service/pop | grep -q aGVsbG8= || fail "pop"

# A frame may have 256 KiB here, so that what exceeds it must be larger than h2spec's own choice.
h2spec() { "$tools/h2spec" -h 127.0.0.1 -p "$port" -P /stats -o 5 --max-header-length 60000 "$@" >"$home/h2spec" 2>&1; }
echo "== h2spec over TLS"
h2spec -t -k || { cat "$home/h2spec"; fail "h2spec over TLS"; }
echo "== h2spec without TLS"
# The port takes HTTP/1.1 too: bytes that are no preface are answered as HTTP/1.1 answers them, with 400, and closed.
h2spec || true
failed=$(sed -n '/^Failures:/,$p' "$home/h2spec" | grep '×' || true)
[ "$(echo "$failed" | sed 's/^ *//')" = "× 2: Sends invalid connection preface" ] || { cat "$home/h2spec"; fail "h2spec without TLS"; }
echo "every client passed"
