#!/usr/bin/env bash
# Installs the real clients once per recipe and prints the folder that holds them: the Python SDK, grpcurl and h2spec.
#
# The recipe is this folder: its hash names the folder in the cache, so a change installs anew and nothing else does.
set -euo pipefail
cd "$(dirname "$0")"

grpcurl=v1.9.3
recipe=$(cat build.sh requirements.txt tools/go.mod tools/go.sum | sha256sum | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/clients-$recipe

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$out/done" ]; then
  echo "installing imesh, grpcurl $grpcurl and h2spec into $out (about a minute, once)" >&2
  rm -rf "$out/python"
  python3 -m venv "$out/python" >&2
  "$out/python/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt >&2
  GOTOOLCHAIN=local GOBIN=$out go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl" >&2
  (cd tools && GOTOOLCHAIN=local GOBIN=$out go install -mod=readonly github.com/summerwind/h2spec/cmd/h2spec) >&2
  touch "$out/done"
fi
echo "$out"
