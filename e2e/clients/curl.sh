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
