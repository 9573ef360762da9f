#!/usr/bin/env bash
# The Autobahn suite on a listener. It needs Python 2.7: `python2.7`, or pyenv's; its packages are installed once, by recipe.
#
# A case passes when its behaviour is OK, NON-STRICT where RFC 6455 leaves the choice, or INFORMATIONAL. Left out are messages
# above 1 MiB, which no listener takes, and offers of compression with a window of 9 bits alone, which are declined: the RFC leaves
# that choice, and its compressor needs 15. All of it takes some twenty minutes with a release build; CASES='["5.*", "9.1.1"]' are a few.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "autobahn: $*" >&2; exit 1; }

python=$(command -v python2.7 || true)
for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do [ -x "$found" ] && python=$found; done
[ -n "$python" ] || fail "the suite needs Python 2.7: install it, for example by pyenv"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/interconn
suite=$cache/autobahn-$(sha256sum <"$here/autobahn.txt" | cut -c1-16)
mkdir -p "$cache"
exec 9>"$suite.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$suite/done" ]; then
  echo "installing the Autobahn suite into $suite (a minute, once)" >&2
  rm -rf "$suite"
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$suite" --requirement "$here/autobahn.txt" >&2
  # Packages within zope are found only where it is one itself.
  touch "$suite/zope/__init__.py" "$suite/done"
fi

node --no-warnings --experimental-websocket "$here/echo.mjs" >"$WORK/echo.log" 2>&1 9>&- &
echo=$!
trap 'kill $echo 2>/dev/null || true' EXIT
until grep -q ready "$WORK/echo.log"; do kill -0 $echo 2>/dev/null || fail "the echo does not start"; sleep 0.1; done

cases=${CASES:-}
[ -n "$cases" ] || cases='["*"]'
left_out='["9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*", "13.3.*", "13.5.*"]'
cat >"$WORK/suite.json" <<JSON
{"outdir": "$WORK/reports", "servers": [{"agent": "grid", "url": "ws://127.0.0.1:$CLIENTS/echo"}],
 "cases": $cases,
 "exclude-cases": $left_out,
 "exclude-agent-cases": {}}
JSON
PYTHONPATH=$suite "$python" "$suite/bin/wstest" --mode fuzzingclient --spec "$WORK/suite.json" >"$WORK/autobahn.log" 2>&1 9>&- &
running=$!
# Without its echo the suite would wait for each message until its time is over.
wait -n $echo $running || { kill $running 2>/dev/null; fail "the suite, or its echo, broke off"; }
python3 "$here/verdict.py" "$WORK/reports/index.json"
