# HAProxy, Envoy and nginx between two nodes, where they end TLS as the second and speak it anew as the first: what is pushed, popped and
# called passes, gRPC and WebSockets too.
echo "== two nodes that call each other's services"
p=LX0000010000280 q=LX0000010000270
name_p=lx0000010000280.trustbe.cn name_q=lx0000010000270.trustbe.cn
pair() { # NODE NAME: its root, and what a proxy shows in its name
  local new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${new[@]}" -days 2 -subj "/CN=$1" -keyout "$home/$1-root.key" -out "$home/$1-root.pem" 2>/dev/null
  openssl req "${new[@]}" -subj "/CN=$1" -keyout "$home/$1.key" -out "$home/$1.csr" 2>/dev/null
  openssl x509 -req -in "$home/$1.csr" -CA "$home/$1-root.pem" -CAkey "$home/$1-root.key" -CAcreateserial -days 2 \
    -extfile <(echo "subjectAltName=DNS:$2") -out "$home/$1.pem" 2>/dev/null
  cat "$home/$1.pem" "$home/$1.key" >"$home/$1-pair.pem"
}
pair p $name_p
pair q $name_q
for node in p q; do
  start_mesh $node
  at $node
  python3 - "${!node}" "$home/$node-root" >"$home/$node.json" <<'PYTHON'
import json, sys
node, root = sys.argv[1:]
read = lambda end: open(root + end).read()
print(json.dumps({"node_id": node, "inst_id": "JG1", "name": "bank", "root_crt": read(".pem"), "root_key": read(".key")}))
PYTHON
  curl -sS "http://$address/v1/interconn/node/refresh" -H 'content-type: application/json' -d @"$home/$node.json" \
    | grep -q E0000000000 || fail "the identity of $node"
done
at q && at_q=$address
at p && at_p=$address
on q route add $p --inst JG1 --at "$at_p" --root "$home/p-root.pem" --export /files --export /acme.Kinds --export /echo >/dev/null
start_echo echo
at echo && on q register echo /echo --at "$address" >/dev/null && on q register private /private --at "$address" >/dev/null
at nginx1 && on q register files /files --at "$address" >/dev/null
at grpc1 && on q register kinds /acme.Kinds --at "$address" --proto grpc >/dev/null

through() { # WAY: all that there is, from p to q and back
  for file in small large; do
    on p push "$1-$file" "$home/www/files/$file" --session s --target-node $q >/dev/null || fail "a push of a $file file through $1"
    on q pop "$1-$file" --session s --timeout 20s --to "$home/popped" >/dev/null
    cmp "$home/popped" "$home/www/files/$file" || fail "a $file file through $1"
    on q push "$1-$file-back" "$home/www/files/$file" --session s >/dev/null
    on p pop "$1-$file-back" --session s --target-node $q --timeout 20s --to "$home/popped" >/dev/null || fail "a pop of a $file file through $1"
    cmp "$home/popped" "$home/www/files/$file" || fail "a $file file popped through $1"
  done
  curl -sS --max-time 60 -H "x-ptp-target-node-id: $q" "http://$at_p/files/large" | cmp - "$home/www/files/large" || fail "a call through $1"
  timeout 120 "$python" "$here/caller.py" kinds "$at_p" acme.Kinds $q || fail "gRPC through $1"
  timeout 120 "$python" "$here/ws.py" call "$at_p" /echo $q || fail "a WebSocket through $1"
  timeout 120 "$python" "$here/ws.py" refused "$at_p" /private $q | grep -q '^403 .*E0000000614' || fail "what is not exported, through $1"
  on p diagnose route $q --idle 1s >"$home/diagnosis.log" || fail "a route through $1: $(cat "$home/diagnosis.log")"
}
timeout 120 "$python" "$here/ws.py" call "$at_q" /echo || fail "a WebSocket on one node"
on p route add $q --inst JG1 --at "$at_q" --root "$home/q-root.pem" >/dev/null
through "nothing else"
for proxy in haproxy envoy nginx_to; do
  echo "== ${proxy%_to} between two nodes, with TLS of its own"
  start_$proxy $proxy-between-tls "$at_q" tls
  on p route add $q --inst JG1 --at "127.0.0.1:${ports[$proxy-between-tls]}" --root "$home/q-root.pem" >/dev/null
  through $proxy
done
