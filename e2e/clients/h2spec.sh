#!/usr/bin/env bash
# h2spec on the port, with TLS and without.
set -euo pipefail
# A frame may have 256 KiB here, so that what exceeds it must be larger than h2spec's own choice.
h2spec() { "$TOOLS/h2spec" -h "${MESH_X%:*}" -p "${MESH_X#*:}" -P /stats -o 5 --max-header-length 60000 "$@" >"$WORK/h2spec" 2>&1; }
fail() { cat "$WORK/h2spec"; echo "h2spec: $*" >&2; exit 1; }

echo "== h2spec over TLS"
h2spec -t -k || fail "over TLS"
echo "== h2spec without TLS"
# The port takes HTTP/1.1 too: bytes that are no preface are answered as HTTP/1.1 answers them, with 400, and closed.
h2spec || true
grep -q ' tests, ' "$WORK/h2spec" || fail "it did not run"
failed=$(sed -n '/^Failures:/,$p' "$WORK/h2spec" | grep '×' || true)
[ "$(echo "$failed" | sed 's/^ *//')" = "× 2: Sends invalid connection preface" ] || fail "without TLS"
