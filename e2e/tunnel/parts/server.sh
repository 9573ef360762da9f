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
# Port 6440 is the switch's still: it answers whoever has a certificate, and nobody else.
in_net a curl -sSk --http2 --max-time 60 --cert "$admin/client.pem" --key "$admin/client-key.pem" -o /dev/null https://127.0.0.1:8084/ ||
  fail "6440 does not answer the administrator"
if in_net a curl -sk --http2 --max-time 60 -o /dev/null https://127.0.0.1:8084/; then fail "6440 wants no certificate"; fi
reaches() { in_net a curl -sSf --max-time 20 -o "$home/came" http://127.0.0.1:8083/large && cmp "$home/came" "$home/large"; }
# Somebody switches the device off, or deletes it: packets to it are lost, and it is made again.
for harm in "set mesh0 down" "del mesh0"; do
  before=$(grep -c "the TUN device is lost" "$home/server.log" || true)
  # shellcheck disable=SC2086
  in_net server ip link $harm
  in_net a curl -s --max-time 2 -o /dev/null http://127.0.0.1:8083/ || true
  lost() { [ "$(grep -c "the TUN device is lost" "$home/server.log")" -gt "$before" ]; }
  eventually "the loss of the device by $harm" lost
  eventually "the device to be made again after $harm" reaches
done
# A packet to a device that is lost is lost, and no bug.
if grep "a panic" "$home/server.log"; then fail "the loss of a device is told as a bug"; fi

step "TUN devices of nodes of ours"
kill "${pids[shop]}" "${pids[customer]}"
wait "${pids[shop]}" "${pids[customer]}" || true
edge left a --tun
edge right b --tun
within a ping -c 3 -i 0.2 -W 20 10.1.1.1
within a ping -c 3 -i 0.2 -W 20 "$(inner right)"
within a ping -c 1 -W 20 -M "do" -s 1372 "$(inner right)"
within a curl -sSf --max-time 100 -o "$home/came" http://10.1.1.1:9000/large
cmp "$home/came" "$home/large" || fail "what came from the machine is another"
# UDP and what else there is too; and the server's port 6440, by which a node's certificates are renewed.
within server ping -c 3 -i 0.2 -W 20 "$(inner left)"
within a curl -sSk --http2 --max-time 60 --cert "$admin/client.pem" --key "$admin/client-key.pem" -o /dev/null https://10.1.1.1:6440/
in_net a ip link del mesh0
again() { in_net a ping -c 1 -W 5 "$(inner right)" >/dev/null 2>&1; }
eventually "the node's device to be made again" again
kill "${pids[left]}" "${pids[right]}"
