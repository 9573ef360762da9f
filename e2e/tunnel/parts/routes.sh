# shellcheck shell=bash
# Two nodes of ours without any device: one has a network behind it, and the other reaches what stands there.
step "routes: a network behind a node of ours"
behind=192.168.77.9
in_net b ip addr add "$behind/32" dev lo
mkdir -p "$home/behind"
head -c 5000000 /dev/urandom >"$home/behind/large"
nsenter --net="/run/netns/links-$$-b" python3 -m http.server --bind "$behind" --directory "$home/behind" 8010 >"$home/behind.log" 2>&1 &
pids[behind]=$!
eventually "what stands behind the node" in_net b curl -sf -o /dev/null "http://$behind:8010/"
edge gate b --routes 192.168.77.0/24
edge user a --forward "8077:$behind:8010"
if in_net a curl -s --max-time 3 -o /dev/null http://127.0.0.1:8077/; then fail "a network that nobody approved is reached"; fi
gate=$(on server tunnel route ls | awk '$2 == "192.168.77.0/24" && $3 == "waits" {print $1}')
[ -n "$gate" ] || fail "the network does not wait: $(on server tunnel route ls)"
on server tunnel route approve "$gate" 192.168.77.0/24
in_net a curl -sSf --max-time 100 -o "$home/came" http://127.0.0.1:8077/large || fail "what stands behind the node is not reached"
cmp "$home/came" "$home/behind/large" || fail "what came from behind the node is another"
on server tunnel route revoke "$gate" 192.168.77.0/24
if in_net a curl -s --max-time 3 -o /dev/null http://127.0.0.1:8077/; then fail "a network whose approval was taken back is reached"; fi
