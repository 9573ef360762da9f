# grpcio as a service.
echo "== grpcio, each kind of call"
timeout 120 "$python" "$here/caller.py" kinds "$port" acme.Kinds || fail "gRPC"
