#!/usr/bin/env bash
# Brings the images to the cluster that kubectl talks to, and installs the chart there: install.sh IMAGES TAG, with the archives
# mesh.tar and mesh-operator.tar of `make image TAG=...` on this machine in the folder IMAGES. What changes something is shown before it is done.
#
#   REGISTRY=registry.example/team   images are pushed there, and pulled from there (skopeo, crane, docker or podman, logged in)
#   no REGISTRY                      images are loaded into kind, or into the containerd of the one node that is this machine
#   HELM_FLAGS="--set a=b -f c.yaml" more for Helm
set -euo pipefail
cd "$(dirname "$0")/.."
images=${1:?usage: install.sh IMAGES TAG} tag=${2:?usage: install.sh IMAGES TAG}
registry=${REGISTRY:-} registry=${registry%/}
read -ra more <<<"${HELM_FLAGS:-}"

fail() { echo "install.sh: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null; }
run() { echo "+ $*"; "$@"; }

push() { # NAME
  local from=$images/$1.tar to=$registry/$1:$tag engine
  if has skopeo; then
    run skopeo copy "docker-archive:$from" "docker://$to"
  elif has crane; then
    run crane push "$from" "$to"
  else
    engine=$(command -v docker || command -v podman) || fail "REGISTRY needs one of skopeo, crane, docker and podman"
    engine=${engine##*/}
    run "$engine" load --input "$from"
    run "$engine" tag "localhost/$1:$tag" "$to"
    run "$engine" push "$to"
  fi
}

# Whether the cluster's only node is this machine.
is_here() {
  local nodes
  nodes=$(kubectl get nodes --output 'jsonpath={.items[*].metadata.labels.kubernetes\.io/hostname}')
  [ "$nodes" = "$(uname -n)" ]
}

load() { # NAME
  local archive=$images/$1.tar
  case $context in
    kind-*) run kind load image-archive "$archive" --name "${context#kind-}" ;;
    *) run "${containerd[@]}" --namespace k8s.io images import "$archive" ||
      fail "containerd takes images from root alone: sudo --preserve-env $PWD/charts/install.sh $images $tag" ;;
  esac
}

# An image of another processor is found out by a pod that does not start, after minutes. Who may not see nodes is not kept from it.
compare_processors() {
  local ours theirs others
  case $(uname -m) in x86_64) ours=amd64 ;; aarch64) ours=arm64 ;; *) ours=$(uname -m) ;; esac
  theirs=$(kubectl get nodes --output 'jsonpath={.items[*].status.nodeInfo.architecture}' 2>/dev/null) || return 0
  others=${theirs//$ours/}
  if [ -z "${others// /}" ]; then return; fi
  if [ "$others" = "$theirs" ]; then
    fail "the images are for $ours, and the nodes are $theirs: run it on such a machine, or build with docker buildx (docs/install.md)"
  fi
  echo "install.sh: the images are for $ours alone, and some nodes are not (${theirs}): keep operator, gateways and pods with a sidecar there" \
    "by nodeSelector kubernetes.io/arch=$ours, or build for all with docker buildx (docs/install.md)" >&2
}

for name in mesh mesh-operator; do
  [ -f "$images/$name.tar" ] || fail "$images/$name.tar is not there: make image TAG=$tag"
done
has kubectl || fail "kubectl is not there: https://kubernetes.io/docs/tasks/tools"
has helm || fail "helm is not there: https://helm.sh/docs/intro/install"

compare_processors
if [ -n "$registry" ]; then
  for name in mesh mesh-operator; do push "$name"; done
  more=(--set "global.imageRegistry=$registry" ${more[@]+"${more[@]}"})
else
  context=$(kubectl config current-context)
  if [[ $context != kind-* ]]; then
    is_here || fail "$context has nodes elsewhere: make install REGISTRY=registry.example/team, which this machine may push to and they may pull from"
    if has k3s; then containerd=(k3s ctr); else containerd=(ctr); fi
  fi
  for name in mesh mesh-operator; do load "$name"; done
fi
run helm upgrade --install interconn charts/interconn --namespace interconn-system --create-namespace --wait \
  --set "image.tag=$tag,sidecar.image.tag=$tag" ${more[@]+"${more[@]}"}
