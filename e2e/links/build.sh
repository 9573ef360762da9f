#!/usr/bin/env bash
# Installs toxiproxy once per recipe and prints the folder that holds it.
set -euo pipefail
cd "$(dirname "$0")"

toxiproxy=v2.5.0
recipe=$(sha256sum build.sh | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/links-$recipe

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$out/done" ]; then
  echo "installing toxiproxy $toxiproxy into $out (half a minute, once)" >&2
  GOTOOLCHAIN=local GOBIN=$out go install "github.com/Shopify/toxiproxy/v2/cmd/server@$toxiproxy" >&2
  touch "$out/done"
fi
echo "$out"
