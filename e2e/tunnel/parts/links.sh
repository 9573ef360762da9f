# shellcheck shell=bash
# A node behind a bad link: slow, late, in pieces, cut and dead for a while. It goes on, comes back, and nothing is torn.
step "bad links between a node and the server"
toxiproxy=$("$here/../links/build.sh")/server
start_toxiproxy
toxiproxy POST /proxies "{\"name\":\"tunnel\",\"listen\":\"10.99.0.1:6441\",\"upstream\":\"$server:6441\"}"
# The node dials the server, and finds toxiproxy.
in_net a iptables -t nat -A OUTPUT -p tcp -d "$server" --dport 6441 -j DNAT --to-destination 10.99.0.1:6441
head -c 200000 /dev/urandom >"$home/piece"
nsenter --net="/run/netns/links-$$-b" python3 -m http.server --bind 127.0.0.1 --directory "$home" 8001 >"$home/http1.log" 2>&1 &
pids[http1]=$!
eventually "the server of files" in_net b curl -sf -o /dev/null http://127.0.0.1:8001/piece
edge source b --expose 81:127.0.0.1:8001
edge far a --forward "8081:$(inner source):81"
comes() { # WHAT
  in_net a curl -sSf --max-time 100 -o "$home/came" http://127.0.0.1:8081/piece || fail "$1: nothing comes"
  cmp "$home/came" "$home/piece" || fail "$1: what came is another"
}
comes "a good link"
for toxic in latency:'"latency":80,"jitter":60' bandwidth:'"rate":800' slicer:'"average_size":97,"size_variation":90,"delay":100'; do
  for stream in upstream downstream; do poison tunnel "${toxic%%:*}" $stream "${toxic#*:}"; done
  comes "${toxic%%:*}"
  for stream in upstream downstream; do cure tunnel "${toxic%%:*}" $stream; done
done
times() { grep -c "joined the tunnel" "$home/far.log" || true; }
for toxic in reset_peer timeout; do
  before=$(times)
  away=$(grep -c "the tunnel is away" "$home/far.log" || true)
  poison tunnel $toxic downstream '"timeout":100'
  lost() { [ "$(grep -c "the tunnel is away" "$home/far.log")" -gt "$away" ]; }
  # A packet of the node makes the server answer, and the answer is cut.
  in_net a curl -s --max-time 2 -o /dev/null http://127.0.0.1:8081/piece || true
  eventually "the end of the link by $toxic" lost
  cure tunnel $toxic downstream
  back() { [ "$(times)" -gt "$before" ]; }
  eventually "the node to come back after $toxic" back
  # It may have come back before the link was good, and be cut once more.
  came() { in_net a curl -sSf --max-time 20 -o "$home/came" http://127.0.0.1:8081/piece && cmp "$home/came" "$home/piece"; }
  eventually "all of it to come after $toxic" came
done
kill "${pids[far]}" "${pids[source]}"
in_net a iptables -t nat -F OUTPUT
