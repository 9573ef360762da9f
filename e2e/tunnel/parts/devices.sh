# shellcheck shell=bash
# Two nodes with TUN devices, as the original's client makes them, and what programs of others do through them.
step "TUN devices: ping, curl, iperf3 and gRPC through the tunnel"
grpcurl=$("$here/../clients/build.sh")/grpcurl
token=$(on server tunnel token create --legacy --max-uses 0)
declare -A inside
join() { # NODE
  mkdir -p "$home/$1"
  nsenter --net="/run/netns/links-$$-$1" "$legacy" join "$server:6439" "${token%@*}" "$home/$1" >"$home/$1.address" 2>"$home/$1.log" &
  pids[$1]=$!
  eventually "the device of $1" test -s "$home/$1.address"
  inside[$1]=$(cat "$home/$1.address")
}
join a
join b

within a ping -c 3 -i 0.2 -W 20 10.1.1.1
within a ping -c 3 -i 0.2 -W 20 "${inside[b]}"
# As large as a packet may be, and not one byte more.
within a ping -c 1 -W 20 -M "do" -s 1372 "${inside[b]}"

mkdir -p "$home/www"
head -c 5000000 /dev/urandom >"$home/www/large"
nsenter --net="/run/netns/links-$$-b" python3 -m http.server --directory "$home/www" 8000 >"$home/http.log" 2>&1 &
pids[http]=$!
eventually "the server of files" in_net b curl -sf -o /dev/null http://127.0.0.1:8000/
for at in "${inside[b]}:8000" 10.1.1.1:80; do
  within a curl -sSf --max-time 100 -o "$home/came" "http://$at/large"
  cmp "$home/came" "$home/www/large" || fail "what came by $at is another"
done
# No door but those that are declared.
if in_net a curl -s --max-time 60 -o /dev/null http://10.1.1.1:7304/; then fail "the server's own address has a port 7304"; fi

nsenter --net="/run/netns/links-$$-b" iperf3 --forceflush --server --bind "${inside[b]}" >"$home/iperf3.log" 2>&1 &
pids[iperf3]=$!
eventually "iperf3" grep -q listening "$home/iperf3.log"
within a iperf3 --client "${inside[b]}" --time 5 --json
python3 - "$home/said" <<'PYTHON'
import json, sys

sum = json.load(open(sys.argv[1]))["end"]
sent, came = sum["sum_sent"], sum["sum_received"]
assert came["bytes"] > 0, sum
print(f"figure: TCP between two TUN devices through the hub: {came['bits_per_second'] / 1e6:.0f} Mbit/s, {sent['retransmits']} sent again")
PYTHON

# LiteKube's node asks for its state through the tunnel, with the certificate that GetToken gave.
own=(-cacert "$home/a/ca.pem" -cert "$home/a/client.pem" -key "$home/a/client-key.pem" -d "{\"token\": \"$(cat "$home/a/token")\"}")
within a "$grpcurl" "${own[@]}" 10.1.1.1:6440 pb.LiteKubeNCService.CheckConnState
grep -q '"connState": 3' "$home/said" && grep -q "\"bindIp\": \"${inside[a]}\"" "$home/said" || fail "its state: $(cat "$home/said")"

# An administrator sends the node away: its client ends, and its address is the next one's.
before=${inside[a]}
papers=(-cacert "$admin/ca.pem" -cert "$admin/client.pem" -key "$admin/client-key.pem" -d "{\"token\": \"$(cat "$home/a/token")\"}")
within server "$grpcurl" "${papers[@]}" "$server:6440" pb.LiteKubeNCService.UnRegister
grep -q '"result": true' "$home/said" || fail "UnRegister: $(cat "$home/said")"
ended() { ! kill -0 "${pids[a]}" 2>/dev/null; }
eventually "the end of the node's client" ended
rm "$home/a.address"
join a
[ "${inside[a]}" = "$before" ] || fail "the address $before is free, and the next node has ${inside[a]}"
