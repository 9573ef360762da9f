//! The configuration files of a cluster's programs, as text.

use super::state::State;

/// Who wrote what, without bodies: tests count the operator's writes in it. Reads are left out, they are thousands.
pub const AUDIT: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
";

/// The pods' network: one bridge, addresses from a range that no test uses otherwise.
#[must_use]
pub fn cni(state: &State, bridge: &str, subnet: &str) -> String {
    let ranges = format!(r#"[[{{"subnet": "{subnet}", "rangeStart": "10.88.7.10", "rangeEnd": "10.88.7.250"}}]]"#);
    let leases = state.text("run/ipam");
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "e2e", "plugins": [
  {{"type": "bridge", "bridge": "{bridge}", "isGateway": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "dataDir": "{leases}", "ranges": {ranges}, "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#
    )
}

/// containerd. `restrict_oom_score_adj`, because root of a test machine may lack the right to lower the score, and then no
/// pod starts. Network namespaces under the state folder, so that taking down finds them among the mounts.
#[must_use]
pub fn containerd(state: &State) -> String {
    let root = state.root().display();
    format!(
        r#"version = 2
root = "{root}/containerd/root"
state = "{root}/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{root}/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:e2e"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{root}/cni"
"#
    )
}

/// The kubelet. It keeps its usual sync of a minute: a change that reaches a pod sooner was brought by a nudge.
#[must_use]
pub fn kubelet(state: &State, address: &str) -> String {
    let root = state.root().display();
    format!(
        "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
port: 16250
healthzPort: 16248
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://{root}/run/containerd.sock
podLogsDir: {root}/log/pods
syncFrequency: 1m
nodeStatusUpdateFrequency: 1s
evictionHard: {{memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {root}/pki/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {root}/pki/kubelet.crt
tlsPrivateKeyFile: {root}/pki/kubelet.key
clusterDNS: []
resolvConf: \"\"
"
    )
}

/// kube-proxy. It leaves conntrack's limits alone: inside a network namespace they cannot be raised.
#[must_use]
pub fn kube_proxy(state: &State, node: &str, address: &str, subnet: &str) -> String {
    let config = state.text("etc/kube-proxy.kubeconfig");
    format!(
        "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {config}}}
mode: iptables
hostnameOverride: {node}
bindAddress: {address}
metricsBindAddress: 127.0.0.1:16249
conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
clusterCIDR: {subnet}
"
    )
}
