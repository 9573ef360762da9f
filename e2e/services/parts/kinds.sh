# grpcio as a service.
echo "== grpcio, each kind of call"
timeout 120 "$python" "$here/caller.py" kinds "$port" acme.Kinds || fail "gRPC"

echo "== grpcurl, through the node"
grpcurl() { # METHOD MESSAGES
  timeout 60 "$("$here/../clients/build.sh")/grpcurl" -plaintext -import-path "$here" -proto kinds.proto -d "$2" "$port" "acme.Kinds/$1"
}
grpcurl Unary '{"text":"once"}' | grep -q '"text": "once"' || fail "a unary call by grpcurl"
[ "$(grpcurl Both '{"text":"a"}{"text":"b"}{"text":"c"}' | grep -c '"text"')" = 3 ] || fail "a stream by grpcurl"
