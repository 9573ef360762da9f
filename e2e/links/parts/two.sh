# Two nodes, and toxiproxy on the way from the one to the other: y answers at its own address too, which x is told later.
step "two nodes know each other"
link x-y 7001 y
named x
named y
know x y 10.99.0.1:7001
know y x "${addresses[x]}:7304"
goes x y
goes y x

step "a link of 300 ms with jitter"
poison x-y latency downstream '"latency":300,"jitter":100'
poison x-y latency upstream '"latency":300,"jitter":100'
for n in 1 2 3 4 5; do push x y slow "message $n" || fail "a push over a slow link: $(cat "$home/said")"; done
pops_all y slow 5
cure x-y latency downstream
cure x-y latency upstream

step "a thin link: 2 MB at 1 MB/s"
poison x-y bandwidth upstream '"rate":1000'
head -c 2000000 /dev/urandom >"$home/large"
on x push thin "$home/large" --session s --target-node ${id[y]} >/dev/null || fail "a push over a thin link"
on y pop thin --session s --to "$home/popped" >/dev/null && cmp "$home/large" "$home/popped" || fail "what came over a thin link"
cure x-y bandwidth upstream

step "links too thin for what may be pushed are told by the diagnosis, and one that is slower than a measurement too"
for rate in 600 60; do
  poison x-y bandwidth upstream "\"rate\":$rate"
  on x diagnose route ${id[y]} --idle 100ms >"$home/diagnosis.log" 2>&1 && fail "a diagnosis of a link of $rate KB/s"
  [ "$(grep -c '^ *failed ' "$home/diagnosis.log")" = 1 ] || fail "more than the bandwidth: $(cat "$home/diagnosis.log")"
  grep -q 'failed *bandwidth.*0\.[0-9] MB/s' "$home/diagnosis.log" || fail "the diagnosis of a thin link: $(cat "$home/diagnosis.log")"
  grep -q 'lower maxBodyBytes to' "$home/diagnosis.log" || fail "the remedy for a thin link: $(cat "$home/diagnosis.log")"
  cure x-y bandwidth upstream
done

step "connections that break within a request: everything arrives once, in order"
poison x-y limit_data upstream '"bytes":12000' # a handshake takes a tenth of it, ten messages take all
seq -f 'message %g' 40 | sed "s/\$/ $(printf '%1000s')/" >"$home/long"
while IFS= read -r line; do push x y torn "$line" || fail "a push over a torn link: $(cat "$home/said")"; done <"$home/long"
cure x-y limit_data upstream
[ "$(grep -c '"Accepted client"' "$home/toxiproxy.log")" -gt 4 ] || fail "no connection broke"
pops_all y torn 40

step "a link that takes everything and answers nothing"
poison x-y timeout upstream '"timeout":0'
poison x-y timeout downstream '"timeout":0'
refused E00000006 x y
on x diagnose route ${id[y]} --idle 100ms >"$home/diagnosis.log" 2>&1 && fail "a diagnosis of a link that answers nothing"
grep -q 'failed *tls' "$home/diagnosis.log" || fail "the diagnosis of a link that answers nothing: $(cat "$home/diagnosis.log")"
cure x-y timeout upstream
cure x-y timeout downstream
eventually "the link to work again" goes x y

step "a link that is cut, and nothing else leads there"
cut x-y
refused E0000000607 x y
goes y x # the other direction does not care
mend x-y
eventually "the link to work again" goes x y

step "a link that is cut, and another leads there: not one push fails"
know x y "10.99.0.1:7001,${addresses[y]}:7304"
for n in $(seq 20); do
  [ "$n" = 5 ] && cut x-y
  [ "$n" = 15 ] && mend x-y
  push x y both "message $n" || fail "a push with two ways: $(cat "$home/said")"
done
pops_all y both 20

step "a pop that waits at the partner while the link begins to swallow everything: it ends in time, and the message is kept"
know x y "${addresses[y]}:7304"
goes x y # the session is x's too
waiting() { [ "$(on "$1" queue ls --session s -o json | python3 -c 'import json, sys
print(sum(q["waiters"] for s in json.load(sys.stdin)["sessions"] for q in s["queues"] if q["topic"] == "swallowed"))')" = "$2" ]; } # NODE COUNT
swallow() { # -A|-D: what goes either way between x and y
  firewall "$1" y "${addresses[x]}" DROP
  in_net x iptables "$1" INPUT -s "${addresses[y]}" -p tcp --sport 7304 -j DROP
}
on x pop swallowed --session s --target-node "${id[y]}" --timeout 20s >"$home/said" 2>&1 &
pids[pop]=$!
eventually "the pop to wait at y" waiting y 1
swallow -A
began=$SECONDS
on y push swallowed --session s - <<<"kept" >/dev/null || fail "a push at y"
wait "${pids[pop]}" && fail "a pop over a link that swallows everything brought: $(cat "$home/said")"
unset 'pids[pop]'
[ $((SECONDS - began)) -le 30 ] || fail "a pop of 20 s took $((SECONDS - began)) s"
grep -Eq 'E00000006(01|07)' "$home/said" || fail "a pop over a link that swallows everything says: $(cat "$home/said")"
swallow -D
comes_back() { on x pop swallowed --session s --target-node "${id[y]}" --timeout 5s >"$home/said" 2>&1 && grep -qx kept "$home/said"; }
eventually "the message" comes_back
comes_back && fail "the message came twice"
true
