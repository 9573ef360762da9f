# shellcheck shell=bash
# The server's machine in the network, by a TUN device of its own. The last part, as the server is another one behind it.
step "a TUN device at the server"
kill "${pids[server]}"
wait "${pids[server]}" || true
serve Tun
head -c 3000000 /dev/urandom >"$home/large"
nsenter --net="/run/netns/links-$$-b" python3 -m http.server --bind 127.0.0.1 --directory "$home" 8002 >"$home/http2.log" 2>&1 &
pids[http2]=$!
eventually "the server of files" in_net b curl -sf -o /dev/null http://127.0.0.1:8002/large
# What the switch does not serve itself is the machine's: a program of its own at the tunnel's address.
nsenter --net="/run/netns/links-$$-server" python3 -m http.server --bind 10.1.1.1 --directory "$home" 9000 >"$home/http3.log" 2>&1 &
pids[http3]=$!
eventually "the machine's own program" in_net server curl -sf -o /dev/null http://10.1.1.1:9000/large
edge shop b --expose 80:127.0.0.1:8002
edge customer a --forward 8083:10.1.1.1:9000 --forward 8084:10.1.1.1:6440
in_net server curl -sSf --max-time 100 -o "$home/came" "http://$(inner shop)/large" || fail "the server's machine reaches no node"
cmp "$home/came" "$home/large" || fail "what came from the node is another"
in_net a curl -sSf --max-time 100 -o "$home/came" http://127.0.0.1:8083/large || fail "a node does not reach the server's machine"
cmp "$home/came" "$home/large" || fail "what came from the machine is another"
# Port 6440 is the switch's still: it asks for a certificate.
if in_net a curl -sk --max-time 20 -o /dev/null https://127.0.0.1:8084/; then fail "6440 wants no certificate"; fi
# Somebody deletes the device: the first packet to it says so, and the server goes on without.
in_net server ip link del mesh0
in_net a curl -s --max-time 2 -o /dev/null http://127.0.0.1:8083/ || true
eventually "the loss of the device" grep -q "the TUN device is lost" "$home/server.log"
on server tunnel ls >"$home/said"
grep -q connected "$home/said" || fail "the server does not go on"
