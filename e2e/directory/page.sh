#!/usr/bin/env bash
# The page of a directory in headless Chromium: `page.mjs` drives it. SCREENSHOT names where a picture goes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# 20 knows WebSocket by an option, from 22 on without.
exec node --no-warnings --experimental-websocket "$here/page.mjs"
