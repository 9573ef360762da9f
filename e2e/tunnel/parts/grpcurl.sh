# shellcheck shell=bash
# The calls of the original's manual, with certificates in the place of `-plaintext`: grpcurl knows the messages only by asking.
step "grpcurl by reflection, as the manual has it"
grpcurl=$("$here/../clients/build.sh")/grpcurl
node=pb.LiteKubeNCService
papers=(-cacert "$admin/ca.pem" -cert "$admin/client.pem" -key "$admin/client-key.pem")

said() { in_net a "$grpcurl" "$@" 2>&1 || fail "grpcurl $*"; }
says() { # PATTERN ARGUMENTS...
  local pattern=$1
  shift
  said "$@" >"$home/said"
  grep -q -- "$pattern" "$home/said" || fail "grpcurl $*: no $pattern in $(cat "$home/said")"
}
member() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$home/said" "$1"; } # NAME

says "^$node.GetBootStrapToken\$" "${papers[@]}" "$server:6440" list $node
says "rpc CheckConnState ( .pb.CheckConnStateRequest ) returns ( .pb.CheckConnResponse )" \
  "${papers[@]}" "$server:6440" describe $node.CheckConnState
says 'int64 expireTime = 1' "${papers[@]}" "$server:6440" describe pb.GetBootStrapTokenRequest
says 'string NetworkClientCert = 13' "${papers[@]}" "$server:6440" describe pb.GetTokenResponse
says 'pb.LiteKubeNCBootstrapService' -insecure "$server:6439" list

says '"message": "ok"' -d '{"expireTime": 10}' "${papers[@]}" "$server:6440" $node.GetBootStrapToken
bootstrap=$(member bootStrapToken)
[ "$(member cloudIp):$(member port)" = "$server:6439" ] || fail "the endpoint: $(cat "$home/said")"
for at in "-insecure $server:6439 pb.LiteKubeNCBootstrapService" "-cacert $admin/ca.pem $server:6439 pb.LiteKubeNCBootstrapService" \
  "${papers[*]} $server:6440 $node"; do
  read -ra at <<<"$at"
  service=${at[-1]}
  unset 'at[-1]'
  says '"grpcCaCert": "LS0t' -d "{\"bootStrapToken\": \"$bootstrap\"}" "${at[@]}" "$service.GetToken"
  token=$(member token)
  # Of a node that never had a tunnel: state -1, no address; what is empty grpcurl leaves out.
  says '"connState": -1' -d "{\"token\": \"$token\"}" "${papers[@]}" "$server:6440" $node.CheckConnState
  says '"code": "200"' -d "{\"token\": \"$token\"}" "${papers[@]}" "$server:6440" $node.GetRegistedIp
  says '"result": true' -d "{\"token\": \"$token\"}" "${papers[@]}" "$server:6440" $node.UnRegister
  says '"message": "fail to find such item"' -d "{\"token\": \"$token\"}" "${papers[@]}" "$server:6440" $node.CheckConnState
done
says '"connState": 3' -d '{"token": "reserverd"}' "${papers[@]}" "$server:6440" $node.CheckConnState
if in_net a "$grpcurl" -insecure "$server:6440" list >"$home/said" 2>&1; then fail "6440 wants no certificate"; fi
if in_net a "$grpcurl" -plaintext -max-time 20 "$server:6440" list >"$home/said" 2>&1; then fail "6440 speaks plain text"; fi
