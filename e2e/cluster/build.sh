#!/usr/bin/env bash
# Builds the programs of the test cluster once per recipe and prints the folder that holds them.
#
# The recipe is this folder: its hash names the folder in the cache, so a change builds anew and nothing else does.
# E2E_KUBERNETES=1.33.13 takes that version instead: its modules are resolved anew, with what it asks for.
set -euo pipefail
cd "$(dirname "$0")"

usual=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
version=v${E2E_KUBERNETES:-${usual#v}}
[[ $version =~ ^v1\.[0-9]+\.[0-9]+$ ]] || { echo "E2E_KUBERNETES=${version#v}: must be like 1.33.13" >&2; exit 1; }
recipe=$(cat build.sh go.mod go.sum main.go | sha256sum | cut -c1-16)
[ "$version" = "$usual" ] || recipe+=-$version
out=${XDG_CACHE_HOME:-$HOME/.cache}/interconn/$recipe
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

# The servers read their own version from these variables; without them they call themselves v0.0.0 and Helm refuses them.
minor=${version#v1.} minor=${minor%%.*}
flags="-s -w -X k8s.io/client-go/pkg/version.gitVersion=$version"
for field in "gitVersion=$version" gitMajor=1 "gitMinor=$minor"; do
  flags+=" -X k8s.io/component-base/version.$field"
done

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two tests that start at once build once
if [ ! -x "$out/kubectl" ]; then
  echo "building Kubernetes $version for the test cluster into $out (about 5 minutes, once)" >&2
  modules='readonly'
  if [ "$version" != "$usual" ]; then
    # What the usual version asks for beside itself may be too new for this one: only what we name ourselves stays.
    modules='mod'
    mkdir -p "$out/source"
    cp main.go "$out/source"
    sed -e '/\/\/ indirect$/d' -e "s/${usual//./\\.}/$version/; s/v0\.${usual#v1.}/v0.${version#v1.}/" go.mod >"$out/source/go.mod"
    cd "$out/source"
  fi
  GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=$modules -trimpath -ldflags "$flags" -o "$out/kube.part" . >&2
  mv "$out/kube.part" "$out/kube"
  for program in "${programs[@]}"; do ln -sf kube "$out/$program"; done
fi
echo "$out"
