# shellcheck shell=bash
# Before the tests take over a cluster of others. Sourced by tiers.sh; kubectl asks the cluster that KUBECONFIG names.

# The word without which an installation of somebody's is not touched.
consent_word=delete-every-meshnode

# The tests install into interconn-system, upgrade what is there, and delete the definitions, with them every MeshNode of the cluster:
# whoever has some there must say that they may go (E2E_CONSENT).
may_take_over() {
  local definitions nodes
  [ "${E2E_CONSENT:-}" = "$consent_word" ] && return
  # An error is no answer: only a cluster that says that there is none has none.
  definitions=$(kubectl get customresourcedefinitions --output name) || fail "E2E_CLUSTER=current: kubectl does not get to the cluster"
  grep -qF /meshnodes.interconn.dev <<<"$definitions" || return 0
  nodes=$(kubectl get meshnodes.interconn.dev --all-namespaces --no-headers) || fail "E2E_CLUSTER=current: whether there are MeshNodes is not to be seen"
  [ -z "$nodes" ] || fail "E2E_CLUSTER=current: there are $(wc -l <<<"$nodes") MeshNodes, which the tests would delete with the definitions; \
E2E_CONSENT=$consent_word says that they may"
}
