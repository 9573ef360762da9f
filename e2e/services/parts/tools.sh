# wrk and h2load as callers: not one call fails.
echo "== wrk"
wrk --threads 1 --connections 32 --duration 3s --latency "http://$port/files/small" >"$home/wrk.log" || fail wrk
grep -Eq '^ +[1-9][0-9]* requests in' "$home/wrk.log" || fail "wrk made no call"
if grep -E 'Non-2xx|Socket errors' "$home/wrk.log"; then fail "wrk found errors"; fi

echo "== h2load"
all_well() { # WHAT: its log says that each of 5000 calls was answered with 2xx
  grep -q '5000 succeeded, 0 failed, 0 errored, 0 timeout' "$home/h2load.log" && grep -q 'status codes: 5000 2xx' "$home/h2load.log" || fail "h2load: $1"
}
h2load --requests 5000 --clients 4 --max-concurrent-streams 16 "http://$port/files/small" >"$home/h2load.log" 2>&1 || fail h2load
all_well "HTTP/2"
h2load --h1 --requests 5000 --clients 16 "http://$port/files/small" >"$home/h2load.log" 2>&1 || fail h2load
all_well "HTTP/1.1"
printf '\0\0\0\0\5hello' >"$home/hello"
h2load --requests 5000 --clients 4 --max-concurrent-streams 16 --data "$home/hello" --header 'content-type: application/grpc' \
  --header 'te: trailers' "http://$port/acme.Kinds/Unary" >"$home/h2load.log" 2>&1 || fail h2load
all_well gRPC
