#!/usr/bin/env bash
# Lints the chart with each file of values in cases/taken, and sees each in cases/refused refused for the reason it names.
set -euo pipefail
cd "$(dirname "$0")"
helm=${1:?usage: lint.sh HELM}

for values in cases/taken/*.yaml; do
  "$helm" lint --quiet --strict interconn --namespace interconn-system --values "$values"
  "$helm" template interconn interconn --namespace interconn-system --values "$values" >/dev/null
done

# Other meshes' webhooks are called after ours only while its name is before theirs, whatever the release is called.
for release in interconn mesh zeta; do
  name=$("$helm" template "$release" interconn --namespace prod --show-only templates/webhook.yaml |
    sed -n '/^kind: MutatingWebhookConfiguration/,/^  name:/s/^  name: //p')
  if [[ -z $name || ! $name < istio ]]; then
    echo "release $release: the webhook is called '$name', which comes after istio-... and linkerd-..." >&2
    exit 1
  fi
done

for values in cases/refused/*.yaml; do
  reason=$(sed -n 's/^# refused: //p' "$values")
  if said=$("$helm" template interconn interconn --values "$values" 2>&1); then
    echo "$values: taken, and must be refused" >&2
    exit 1
  fi
  if ! grep -qF -- "$reason" <<<"$said"; then
    printf '%s: refused, but not for %s:\n%s\n' "$values" "$reason" "$said" >&2
    exit 1
  fi
done
