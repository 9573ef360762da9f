# shellcheck shell=bash
# What the tiers need on a machine, installed or built when it is not there. Sourced by test.sh.
#
# Built things live outside the checkout, by version or recipe: the second run, and the next checkout, start at once.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/interconn
deny_version=0.20.2
helm_version=4.2.4
nats_version=2.15.2
# The node's container runtime and what its network is made with. `kubectl` comes with the cluster's programs.
# shellcheck disable=SC2034 # used where this is sourced
node_packages=(containerd runc containernetworking-plugins iptables conntrack iproute2 util-linux)

step() { echo "== $*"; }
fail() { echo "test.sh: $*" >&2; exit 1; }

need_command() { # COMMAND WHERE-FROM
  command -v "$1" >/dev/null || fail "$1 is not there: $2"
}

need_go() {
  need_command go "install Go 1.26 or later (https://go.dev/dl)"
}

need_root() {
  [ "$(uname -s)" = Linux ] || fail "this tier needs Linux; leave it out (TIERS=lint)"
  [ "$(id -u)" = 0 ] || fail "this tier needs root, for network namespaces; leave it out (TIERS=lint,clients,api)"
}

need_packages() {
  local missing=() package
  need_command dpkg "apt installs $* here; elsewhere install what they hold, and for the node tier use E2E_CLUSTER=kind"
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  [ "$(id -u)" = 0 ] || fail "install ${missing[*]} first, or run this as root, which does it"
  step "installing ${missing[*]} (10 seconds)"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

need_python() {
  # Debian has the part that makes environments in a package of its own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3 python3-venv
  command -v curl >/dev/null || need_packages curl
}

cargo_deny() { # prints the program's path
  local root=$cache/cargo-deny-$deny_version
  if [ ! -x "$root/bin/cargo-deny" ]; then
    step "building cargo-deny $deny_version into $root (3 minutes, once)" >&2
    CARGO_TARGET_DIR=$root/build cargo install --quiet --locked --version "$deny_version" --root "$root" cargo-deny >&2
    rm -rf "$root/build"
  fi
  echo "$root/bin/cargo-deny"
}

helm() { # prints the program's path
  local root=$cache/helm-$helm_version
  if [ ! -x "$root/helm" ]; then
    need_go >&2
    step "building helm $helm_version into $root (2 minutes, once)" >&2
    mkdir -p "$root"
    # A name of its own until it is whole: two that start at once must not run a half.
    GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN=$root/part.$$ \
      go install -trimpath -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@v$helm_version" >&2
    mv "$root/part.$$/helm" "$root/helm"
    rmdir "$root/part.$$"
  fi
  echo "$root/helm"
}

nats_server() { # prints the program's path
  local root=$cache/nats-server-$nats_version
  if [ ! -x "$root/nats-server" ]; then
    need_go >&2
    step "building nats-server $nats_version into $root (20 seconds, once)" >&2
    mkdir -p "$root"
    GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN=$root/part.$$ \
      go install -trimpath -ldflags "-s -w" "github.com/nats-io/nats-server/v2@v$nats_version" >&2
    mv "$root/part.$$/nats-server" "$root/nats-server"
    rmdir "$root/part.$$"
  fi
  echo "$root/nats-server"
}
