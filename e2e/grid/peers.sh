#!/usr/bin/env bash
# permessage-deflate with libraries of others: Python's `websockets` and Node.js' `ws`, each with an echo between. Both are installed
# once, by recipe.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "peers: $*" >&2; exit 1; }
ws_version=8.23.0

recipe=$(cat "$here/peers.sh" "$here/peers.txt" | sha256sum | cut -c1-16)
peers=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/peers-$recipe
mkdir -p "$peers"
exec 9>"$peers.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$peers/done" ]; then
  echo "installing websockets and ws into $peers (ten seconds, once)" >&2
  rm -rf "${peers:?}/python" "${peers:?}/node"
  python3 -m venv "$peers/python" >&2
  "$peers/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/peers.txt" >&2
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$peers/node" "ws@$ws_version" >&2
  touch "$peers/done"
fi
exec 9>&-

node --no-warnings --experimental-websocket "$here/echo.mjs" >"$WORK/echo.log" 2>&1 &
echo=$!
trap 'kill $echo 2>/dev/null || true' EXIT
until grep -q ready "$WORK/echo.log"; do kill -0 $echo 2>/dev/null || fail "the echo does not start"; sleep 0.1; done

timeout 120 "$peers/python/bin/python" "$here/peer.py" "ws://127.0.0.1:$CLIENTS/echo" || fail "websockets"
WS=$peers/node/node_modules/ws/wrapper.mjs timeout 120 node "$here/peer.mjs" "ws://127.0.0.1:$CLIENTS/echo" || fail "ws"
