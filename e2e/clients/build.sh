#!/usr/bin/env bash
# Installs the real clients once per recipe and prints the folder that holds them: the Python SDKs, grpcurl and h2spec.
#
# The recipe is this folder: its hash names the folder in the cache, so a change installs anew and nothing else does.
# Generations that need the same packages share them; of the SDKs themselves nothing is resolved, each is what PyPI has.
set -euo pipefail
cd "$(dirname "$0")"

grpcurl=v1.9.3
recipe=$(cat build.sh sdk/*.txt sdk/generations tools/go.mod tools/go.sum | sha256sum | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/clients-$recipe

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two tests that start at once install once
if [ ! -e "$out/done" ]; then
  echo "installing the SDKs of sdk/generations, grpcurl $grpcurl and h2spec into $out (about two minutes, once)" >&2
  for set in plain telemetry; do
    rm -rf "${out:?}/$set"
    python3 -m venv "$out/$set" >&2
    "$out/$set/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "sdk/$set.txt" >&2
  done
  while read -r version set _; do
    "$out/$set/bin/pip" install --quiet --disable-pip-version-check --no-deps --upgrade \
      --target "$out/imesh-$version" "imesh==$version" >&2
  done < <(grep -v '^#' sdk/generations)
  GOTOOLCHAIN=local GOBIN=$out go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl" >&2
  (cd tools && GOTOOLCHAIN=local GOBIN=$out go install -mod=readonly github.com/summerwind/h2spec/cmd/h2spec) >&2
  touch "$out/done"
fi
echo "$out"
