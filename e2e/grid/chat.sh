#!/usr/bin/env bash
# The example of docs/examples/chat in headless Chromium: `chat.mjs` drives it. SCREENSHOT names where a picture goes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# 20 knows WebSocket by an option, from 22 on without.
exec node --no-warnings --experimental-websocket "$here/chat.mjs"
