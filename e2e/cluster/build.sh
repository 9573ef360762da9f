#!/usr/bin/env bash
# Builds the programs of the test cluster once per recipe and prints the folder that holds them.
#
# The recipe is this folder: its hash names the folder in the cache, so a change builds anew and nothing else does.
set -euo pipefail
cd "$(dirname "$0")"

version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
recipe=$(cat build.sh go.mod go.sum main.go | sha256sum | cut -c1-16)
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
  GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "$flags" -o "$out/kube.part" . >&2
  mv "$out/kube.part" "$out/kube"
  for program in "${programs[@]}"; do ln -sf kube "$out/$program"; done
fi
echo "$out"
