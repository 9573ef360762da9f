# Each instance is drained, ended and started again, while calls of both protocols go on: no call fails.
echo "== a rolling restart under load"
seconds=${SECONDS_OF_LOAD:-20}
calls_of() { # NAME
  on node service ls -o json | python3 -c "
import json, sys
services = [s for r in json.load(sys.stdin)['services'] for s in r['services']]
print(sum(s['underWay'] for s in services if s['address'].endswith(':${ports[$1]}')))"
}
"$python" "$here/caller.py" load "$port" "$seconds" >"$home/load.log" 2>&1 &
pids[load]=$!
sleep 1
for name in "${instances[@]}"; do
  register $name 0
  for _ in $(seq 200); do [ "$(calls_of $name)" = 0 ] && break; sleep 0.05; done
  stop $name
  kill -0 "${pids[load]}" 2>/dev/null || fail "the load ended before the restarts: give SECONDS_OF_LOAD more than $seconds"
  start $name
  register $name 1
done
wait "${pids[load]}" || fail "calls failed"
unset 'pids[load]'
cat "$home/load.log"
