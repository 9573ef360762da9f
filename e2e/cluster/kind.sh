#!/usr/bin/env bash
# The test cluster in kind: `kind.sh config` prints what it is made of, `kind.sh up IMAGES KUBECONFIG` makes it with the image
# archives of the folder IMAGES in it, `kind.sh down` takes it away. E2E_KUBERNETES=1.33.7 asks for another version's node image.
set -euo pipefail

name=interconn-e2e
# The tests make the gateways' volumes here, in the folder that this machine calls temporary.
volumes=${TMPDIR:-/tmp}
volumes=${volumes%/}/interconn-e2e-volumes

config() {
  cat <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: $name
networking:
  # The usual range of Services, of which the tests take two addresses.
  serviceSubnet: 10.96.0.0/16
nodes:
- role: control-plane${E2E_KUBERNETES:+
  image: kindest/node:v$E2E_KUBERNETES}
  extraMounts:
  - {hostPath: "$volumes", containerPath: "$volumes"}
END
}

up() { # IMAGES KUBECONFIG
  local archive
  mkdir -p "$volumes"
  config | kind create cluster --config - --kubeconfig "$2" --wait 120s
  for archive in mesh mesh-operator bank envoy nats pause; do
    kind load image-archive "$1/$archive.tar" --name "$name"
  done
}

case "${1:-}" in
  config) config ;;
  up) up "${2:?usage: kind.sh up IMAGES KUBECONFIG}" "${3:?usage: kind.sh up IMAGES KUBECONFIG}" ;;
  down) kind delete cluster --name "$name" ;;
  *) echo "usage: kind.sh config | up IMAGES KUBECONFIG | down" >&2; exit 2 ;;
esac
