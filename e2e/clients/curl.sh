#!/usr/bin/env bash
# The calls of the manuals as they stand there, address and all: curl only connects elsewhere. Node X is the manual's
# 10.99.28.33, node Y its 10.99.27.33.
set -euo pipefail
cd "$(dirname "$0")/../.."
control=sidecar/network/src/control/fixtures
registry=sidecar/registry/tests/fixtures

curl() { command curl --silent --show-error --max-time 60 --connect-to "10.99.28.33:7304:$MESH_X" --connect-to "10.99.27.33:7304:$MESH_Y" "$@"; }
expect() { # WHAT CODE COMMAND...
  local what=$1 code=$2 said
  shift 2
  said=$("$@")
  [[ $said == *"\"code\":\"$code\""* ]] || { echo "curl: $what: $said instead of $code" >&2; exit 1; }
}
json=(--header 'Content-Type: application/json')

echo "== the manuals' calls by curl"
curl 'http://10.99.28.33:7304/stats' | grep -qx E0000000000
expect "node/refresh (seed 001, 2.1)" E0000000000 \
  curl --location 'http://10.99.28.33:7304/v1/interconn/node/refresh' "${json[@]}" --data "$(cat $control/001-node-refresh.json)"
expect "net/refresh (seed 001, 2.2)" E0000000000 \
  curl --location 'http://10.99.27.33:7304/v1/interconn/net/refresh' "${json[@]}" --data "$(cat $control/001-net-refresh.json)"
# Its placeholder is no address; with one, it is.
expect "registry/register (seed 001, 3.1)" E0000000619 \
  curl --location 'http://10.99.27.33:7304/v1/interconn/registry/register' "${json[@]}" --data "$(cat $registry/seed-001-register.json)"
expect "registry/register with an address" E0000000000 \
  curl --location 'http://10.99.27.33:7304/v1/interconn/registry/register' "${json[@]}" \
  --data "$(sed "s/IP:PORT/$MESH_X/" $registry/seed-001-register.json)"
# What was written is in force.
expect "who X is" E0000000000 curl 'http://10.99.28.33:7304/mesh/invoke' --header 'mesh-urn: mesh.net.environ' --data '{}'
curl 'http://10.99.28.33:7304/mesh/invoke' --header 'mesh-urn: mesh.net.environ' --data '{}' | grep -q LX0000010000280
curl 'http://10.99.27.33:7304/mesh/invoke' --header 'mesh-urn: mesh.net.edges' --data '{}' | grep -q 192.168.100.63:27304

# One side offers itself, the other says yes in the manual's own words (seed 001, 2.3).
ask() { curl "http://$1/mesh/invoke" --header "mesh-urn: $2" --data "$3"; }
root_of() { ask "$1" mesh.net.environ '{}' | sed -n 's/.*"root_crt":"\([^"]*\)".*/\1/p'; }
x=10.99.28.33:7304 y=10.99.27.33:7304
named() { # NODE ID INST
  curl "http://$1/v1/interconn/node/refresh" "${json[@]}" --data "{\"node_id\":\"$2\",\"inst_id\":\"$3\",\"name\":\"$2\",\"address\":\"$4\"}"
}
expect "where X is dialled" E0000000000 named $x LX0000010000280 JG0100002800000000 "$MESH_X"
expect "who Y is" E0000000000 named $y LX0000010000270 JG0100002700000000 "$MESH_Y"
expect "Y forgets X" E0000000000 ask $y mesh.net.disband '{"node_ids":["LX0000010000280"]}'
offer="{\"node_id\":\"LX0000010000270\",\"inst_id\":\"JG0100002700000000\",\"address\":\"$MESH_Y\",\"guest_root\":\"$(root_of $y)\"}"
expect "net/weave" E0000000000 curl "http://$x/v1/interconn/net/weave" "${json[@]}" --data "$offer"
expect "net/ack (seed 001, 2.3)" E0000000000 \
  curl --location "http://$y/v1/interconn/net/ack" "${json[@]}" --data "$(cat $control/001-net-ack.json)"
push=(--header 'x-ptp-session-id: curl' --data '{"topic":"t","payload":"aGVsbG8="}')
expect "a push to Y" E0000000000 curl "http://$x/v1/interconn/chan/push" "${json[@]}" --header 'x-ptp-target-node-id: LX0000010000270' "${push[@]}"
expect "a push to X" E0000000000 curl "http://$y/v1/interconn/chan/push" "${json[@]}" --header 'x-ptp-target-node-id: LX0000010000280' "${push[@]}"
