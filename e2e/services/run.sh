#!/usr/bin/env bash
# Real services behind a node, and real proxies around it, a part in a script of its own:
#
#   files      nginx (HTTP/1.1, plain and TLS)
#   kinds      grpcio, each kind of call; grpcurl
#   proxies    HAProxy and Envoy as services; they and nginx between a caller and the node
#   partners   HAProxy, Envoy and nginx between two nodes
#   between    HAProxy, Envoy and nginx between two nodes, with TLS of their own; WebSockets
#   tools      wrk and h2load as callers
#   restart    a rolling restart of all instances under load, without one error
#
#   run.sh MESH [PART...]    the program to test; all parts or a few of them
#
# SECONDS_OF_LOAD (default 20) is how long the load of the restart goes on; the restarts take their time within it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mesh=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- files kinds proxies partners between tools restart
for program in nginx haproxy wrk h2load curl openssl; do
  command -v $program >/dev/null || { echo "services: $program is missing (apt: nginx haproxy wrk nghttp2-client)" >&2; exit 1; }
done
built=$("$here/build.sh")
python=$built/python/bin/python
envoy=$built/python/bin/envoy
home=$(mktemp -d)
. "$here/programs.sh"
trap cleanup EXIT

mkdir -p "$home/www/files"
echo small >"$home/www/files/small"
head -c 20000000 /dev/urandom >"$home/www/files/large"
for path in by-haproxy by-envoy secure; do ln -s files "$home/www/$path"; done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca \
  -keyout "$home/ca.key" -out "$home/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=files -keyout "$home/tls.key" -out "$home/tls.csr" 2>/dev/null
openssl x509 -req -in "$home/tls.csr" -CA "$home/ca.pem" -CAkey "$home/ca.key" -CAcreateserial -days 2 \
  -extfile <(echo 'subjectAltName=DNS:localhost') -out "$home/tls.pem" 2>/dev/null

# What takes calls to /files and to /acme.Kinds.
instances=(nginx1 grpc1 nginx2 grpc2 nginx3 grpc3)
start() { case $1 in nginx*) start_nginx "$1" ;; grpc*) start_grpc "$1" ;; esac; }
register() { # NAME WEIGHT
  local address
  at "$1"
  case $1 in
    nginx*) on node register files /files --at "$address" --weight "$2" >/dev/null ;;
    grpc*) on node register kinds /acme.Kinds --at "$address" --proto grpc --weight "$2" >/dev/null ;;
  esac
}
start_mesh node SSL_CERT_FILE="$home/ca.pem"
for name in "${instances[@]}"; do
  start "$name"
  register "$name" 1
done
at node
port=$address
same() { curl -sS --max-time 60 "$1" | cmp - "$home/www/files/$2" || fail "$3: $1"; } # URL FILE WHAT

for part in "$@"; do
  [ -f "$here/parts/$part.sh" ] || fail "there is no part $part"
  . "$here/parts/$part.sh"
done
echo "every service passed: $*"
