# shellcheck shell=bash
# What the tiers need on a machine, installed or built when it is not there. Sourced by test.sh.
#
# Built things live outside the checkout, by version or recipe: the second run, and the next checkout, start at once.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/interconn
deny_version=0.20.2
helm_version=4.2.4
nats_version=2.15.2
# The oldest that gateways work with; a server of it is upgraded in a test.
# shellcheck disable=SC2034 # used where this is sourced
nats_oldest=2.10.29
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

# One at a time makes what is not there: ahead.sh makes it beside the tiers, and who needs it sooner waits for it.
once() { # NAME COMMAND
  mkdir -p "$cache"
  (
    # Where it is not there (macOS) two that start at once make it twice.
    ! command -v flock >/dev/null || flock 9
    "${@:2}"
  ) 9>"$cache/.$1.lock"
}

need_python() {
  # Debian has the part that makes environments in a package of its own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3 python3-venv
  command -v curl >/dev/null || need_packages curl
}

cargo_deny() { once deny make_cargo_deny; } # prints the program's path
make_cargo_deny() {
  local root=$cache/cargo-deny-$deny_version
  if [ ! -x "$root/bin/cargo-deny" ]; then
    step "building cargo-deny $deny_version into $root (2 minutes, once)" >&2
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$root/build cargo install --quiet --debug --locked --version "$deny_version" --root "$root" cargo-deny >&2
    rm -rf "$root/build"
  fi
  echo "$root/bin/cargo-deny"
}

helm() { once helm make_helm; } # prints the program's path
make_helm() {
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

nats_server() { once nats make_nats_server "${1:-$nats_version}"; } # [VERSION]; prints the program's path
make_nats_server() {
  local version=$1 root=$cache/nats-server-$1
  if [ ! -x "$root/nats-server" ]; then
    need_go >&2
    step "building nats-server $version into $root (20 seconds, once)" >&2
    mkdir -p "$root"
    GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN=$root/part.$$ \
      go install -trimpath -ldflags "-s -w" "github.com/nats-io/nats-server/v2@v$version" >&2
    mv "$root/part.$$/nats-server" "$root/nats-server"
    rmdir "$root/part.$$"
  fi
  echo "$root/nats-server"
}

promql() { once promql make_promql; } # prints the program's path
make_promql() {
  local recipe root
  recipe=$(cat e2e/promql/* | sha256sum | cut -c1-16)
  root=$cache/promql-$recipe
  if [ ! -x "$root/promql" ]; then
    need_go >&2
    step "building Prometheus' parser into $root (1 minute, once)" >&2
    mkdir -p "$root"
    (cd e2e/promql && GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$root/part.$$" .) >&2 || fail "e2e/promql does not build"
    mv "$root/part.$$" "$root/promql"
  fi
  echo "$root/promql"
}

# What the chart and the operator write for the programs of others, whose definitions are in these modules.
definitions_of=(
  github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
  github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml
  github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml
  github.com/cert-manager/cert-manager@v1.21.2/deploy/crds/cert-manager.io_certificates.yaml
  github.com/cert-manager/cert-manager@v1.21.2/deploy/crds/cert-manager.io_certificaterequests.yaml
  sigs.k8s.io/gateway-api@v1.5.0/config/crd/standard/gateway.networking.k8s.io_tlsroutes.yaml
)

definitions_of_others() { once definitions make_definitions_of_others; } # prints the folder
make_definitions_of_others() {
  local root definition module folder
  root=$cache/definitions-$(printf '%s\n' "${definitions_of[@]}" | sha256sum | cut -c1-16)
  if [ ! -d "$root" ]; then
    need_go >&2
    step "fetching the definitions of others into $root (10 seconds, once)" >&2
    mkdir -p "$root.part.$$"
    for definition in "${definitions_of[@]}"; do
      module=${definition%@*} module=$module@$(cut -d/ -f1 <<<"${definition##*@}")
      # Outside of any module: it is a file of theirs that is wanted, and no program.
      folder=$(cd / && GOTOOLCHAIN=local go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
      cp "$folder${definition#"$module"}" "$root.part.$$" || fail "$module cannot be fetched, or has no ${definition#"$module"}"
    done
    mv -T "$root.part.$$" "$root" 2>/dev/null || rm -rf "$root.part.$$"
  fi
  echo "$root"
}
