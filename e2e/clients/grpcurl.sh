#!/usr/bin/env bash
# grpcurl, which knows the messages only by asking the node for them.
set -euo pipefail
service=org.ppc.ptp.PrivateTransferTransport
session='x-ptp-session-id: grpcurl'
fail() { echo "grpcurl: $*" >&2; exit 1; }
says() { # WHAT PATTERN ARGUMENTS...
  local what=$1 pattern=$2 said
  shift 2
  said=$("$TOOLS/grpcurl" -plaintext "$@" 2>&1) || true
  grep -q -- "$pattern" <<<"$said" || fail "$what: no $pattern in $said"
}

echo "== grpcurl by reflection"
says "the services" "^$service\$" "$MESH_X" list
says "the methods" 'PrivateTransferProtocol.transport' "$MESH_X" list org.ppc.ptp.PrivateTransferProtocol
says "a message" 'bytes payload = 2' "$MESH_X" describe org.ppc.ptp.PushInbound
says health '"SERVING"' -d '{"service":"mesh-rpc"}' "$MESH_X" grpc.health.v1.Health/Check
says push E0000000000 -H "$session" -d '{"topic":"t","payload":"aGVsbG8="}' "$MESH_X" $service/push
says peek aGVsbG8= -H "$session" -d '{"topic":"t"}' "$MESH_X" $service/peek
says pop aGVsbG8= -H "$session" -d '{"topic":"t","timeout":5000}' "$MESH_X" $service/pop
says release E0000000000 -H "$session" -d '{}' "$MESH_X" $service/release
says "a session that is over" E0000000608 -H "$session" -d '{"topic":"t","payload":""}' "$MESH_X" $service/push
