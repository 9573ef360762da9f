# nginx as a service, plain and behind TLS.
echo "== nginx as a service"
base=http://$port/files
same "$base/small" small "a file"
same "$base/large" large "a large file"
[ "$(curl -s -r 5-9 -o "$home/part" -w '%{http_code}' "$base/large")" = 206 ] || fail "a range"
cmp "$home/part" <(head -c 10 "$home/www/files/large" | tail -c 5) || fail "the bytes of a range"
[ "$(curl -s -I -o /dev/null -w '%{http_code}' "$base/small")" = 200 ] || fail "HEAD"
stamp=$(curl -sI "$base/small" | tr -d '\r' | sed -n 's/^last-modified: //Ip')
[ "$(curl -s -o /dev/null -w '%{http_code}' -H "If-Modified-Since: $stamp" "$base/small")" = 304 ] || fail "304"
[ "$(curl -s -o "$home/none" -w '%{http_code}' "$base/none")" = 404 ] && grep -q nginx "$home/none" || fail "nginx's own 404"
[ "$(curl -s --compressed "$base/small")" = small ] || fail "gzip passes"
[ "$(curl -s --http2-prior-knowledge "$base/small")" = small ] || fail "a caller by HTTP/2"

echo "== nginx behind TLS"
start_nginx tls ssl
on node register secure /secure --at "https://localhost:${ports[tls]}" >/dev/null
same "http://$port/secure/large" large "a service behind TLS"
on node register wrong /wrong --at "https://127.0.0.1:${ports[tls]}" >/dev/null
curl -s "http://$port/wrong/file" | grep -q E0000000602 || fail "a certificate for another name"
