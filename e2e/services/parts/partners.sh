# HAProxy, Envoy and nginx between two nodes, which pass TLS through: what is pushed on the one is popped on the other.
echo "== two nodes"
x=LX0000010000280 y=LX0000010000270
start_mesh x
start_mesh y
for node in x y; do
  at $node
  inst=JG01${!node:8:6}00000000
  curl -sS "http://$address/v1/interconn/node/refresh" -H 'content-type: application/json' \
    -d "{\"node_id\":\"${!node}\",\"inst_id\":\"$inst\",\"name\":\"$node\"}" | grep -q E0000000000 || fail "the identity of $node"
  on $node exec -m mesh.net.environ | python3 -c 'import json, sys; print(json.load(sys.stdin)["root_crt"])' >"$home/$node.crt"
done
know() { on "$1" route add "${!2}" --inst "JG01${!2:8:6}00000000" --at "$3" --root "$home/$2.crt" >/dev/null; } # NODE PARTNER AT
at x && at_x=$address
at y && at_y=$address
know y x "$at_x"

for proxy in haproxy envoy nginx_to; do
  echo "== ${proxy%_to} between two nodes"
  start_$proxy $proxy-between "$at_y" tcp
  know x y "127.0.0.1:${ports[$proxy-between]}"
  for file in small large; do
    on x push "$proxy-$file" "$home/www/files/$file" --session s --target-node $y >/dev/null || fail "a push of a $file file through $proxy"
    on y pop "$proxy-$file" --session s --timeout 20s --to "$home/popped" >/dev/null
    cmp "$home/popped" "$home/www/files/$file" || fail "a $file file through $proxy"
  done
  on x diagnose route $y --idle 1s >"$home/diagnosis.log" || fail "a route through $proxy"
  stop $proxy-between
  on x push gone "$home/www/files/small" --session s --target-node $y --timeout 2s >"$home/gone" 2>&1 && fail "a push through nothing"
  grep -q E0000000607 "$home/gone" || fail "what a push through nothing says: $(cat "$home/gone")"
done
