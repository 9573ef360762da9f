# HAProxy and Envoy: a service that is one of them, with others behind it; and one of them, or nginx, before the node, as
# local programs may have it.
at nginx1 && files=$address
at grpc1 && kinds=$address
for proxy in haproxy envoy; do
  echo "== $proxy as a service"
  start_$proxy $proxy-http "$files" http
  start_$proxy $proxy-grpc "$kinds" h2
  on node register by-$proxy /by-$proxy --at "127.0.0.1:${ports[$proxy-http]}" >/dev/null
  on node register grpc-by-$proxy /acme.By${proxy^} --at "127.0.0.1:${ports[$proxy-grpc]}" --proto grpc >/dev/null
  same "http://$port/by-$proxy/small" small "a file by $proxy"
  same "http://$port/by-$proxy/large" large "a large file by $proxy"
  timeout 120 "$python" "$here/caller.py" kinds "$port" acme.By${proxy^} || fail "gRPC by $proxy"

  echo "== $proxy before the node"
  start_$proxy $proxy-before "$port" http
  start_$proxy $proxy-before-grpc "$port" h2
  same "http://127.0.0.1:${ports[$proxy-before]}/files/large" large "a large file through $proxy"
  curl -sf "http://127.0.0.1:${ports[$proxy-before]}/stats" | grep -qx E0000000000 || fail "/stats through $proxy"
  timeout 120 "$python" "$here/caller.py" kinds "127.0.0.1:${ports[$proxy-before-grpc]}" acme.Kinds || fail "gRPC through $proxy"
done

echo "== nginx before the node"
start_nginx_to nginx-before "$port" http
same "http://127.0.0.1:${ports[nginx-before]}/files/large" large "a large file through nginx"
curl -sf "http://127.0.0.1:${ports[nginx-before]}/stats" | grep -qx E0000000000 || fail "/stats through nginx"
