# Three nodes at their own addresses, and the firewall of one of them: what is between two of them is nothing to the third.
step "three nodes know each other"
for node in x y z; do named $node; done
for node in x y z; do
  for other in x y z; do
    [ $node = $other ] || know $node $other "${addresses[$other]}:7304"
  done
done
for node in x y z; do
  for other in x y z; do
    [ $node = $other ] || goes $node $other
  done
done

step "y's firewall swallows what x sends; z is not concerned"
firewall -A y "${addresses[x]}" DROP
refused E0000000607 x y
goes z y
goes x z
on x diagnose route ${id[y]} --idle 100ms >"$home/diagnosis.log" 2>&1 && fail "a diagnosis of a firewall"
grep -q 'failed *tcp' "$home/diagnosis.log" || fail "the diagnosis of a firewall: $(cat "$home/diagnosis.log")"
grep -q 'swallows the packets' "$home/diagnosis.log" || fail "the remedy of a firewall: $(cat "$home/diagnosis.log")"
on y diagnose route ${id[x]} --idle 100ms >"$home/diagnosis.log" 2>&1 || fail "the other direction: $(cat "$home/diagnosis.log")"
firewall -D y "${addresses[x]}" DROP
eventually "x to reach y again" goes x y

step "y's firewall refuses x"
firewall -A y "${addresses[x]}" REJECT --reject-with tcp-reset
refused E0000000607 x y
firewall -D y "${addresses[x]}" REJECT --reject-with tcp-reset
eventually "x to reach y again" goes x y

step "a pop that waits at y when the link breaks takes nothing with it"
on x pop waited --session s --target-node ${id[y]} --timeout 60s >"$home/waited" 2>&1 &
pids[waiting]=$!
sleep 1
firewall -A y "${addresses[x]}" DROP
wait "${pids[waiting]}" && fail "a pop over a broken link brought something: $(cat "$home/waited")"
unset "pids[waiting]"
push y y waited "after all"
firewall -D y "${addresses[x]}" DROP
there() { [ "$(on x pop waited --session s --target-node ${id[y]} --timeout 5s 2>/dev/null)" = "after all" ]; }
eventually "the message to be popped by x" there

step "nobody reaches z through y: y passes nobody's calls on"
firewall -A z "${addresses[x]}" DROP
refused E0000000607 x z
goes y z
firewall -D z "${addresses[x]}" DROP
eventually "x to reach z again" goes x z
