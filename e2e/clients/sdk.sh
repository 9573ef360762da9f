#!/usr/bin/env bash
# Every generation of the SDK in every way that it can call (sdk/generations): what a program does with it is sdk/client.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
while read -r version set ways; do
  for way in $ways; do
    echo "== imesh $version over $way"
    # It may use a proxy of the environment for loopback, and its default for what is not set is not ours to know.
    env -i PATH="$PATH" HOME="$WORK" PYTHONPATH="$TOOLS/imesh-$version" PYTHONDONTWRITEBYTECODE=1 \
      MESH_ADDRESS="$MESH_X" MESH_BFIA_PROTO="$way" MESH_REGISTER=1 MESH_NAME="sdk-$version-$way" \
      PEER="$MESH_Y" timeout 120 "$TOOLS/$set/bin/python" "$here/sdk/client.py" "$version" "$way" >"$WORK/sdk" 2>&1 ||
      { cat "$WORK/sdk"; echo "imesh $version over $way failed" >&2; exit 1; }
  done
done < <(grep -v '^#' "$here/sdk/generations")
