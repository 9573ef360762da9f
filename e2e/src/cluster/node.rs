//! A node beside the control plane: container runtime, kubelet, kube-proxy, scheduler and controllers, all in one network
//! namespace of their own, so that no packet of a test leaves it. Needs root.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::control_plane::{self, Place, arguments};
use super::files;
use super::launch::{Launcher, run};
use super::state::State;

/// The network namespace. One cluster with a node per machine: its control groups have names of Kubernetes' choice.
pub const NETNS: &str = "interconn-e2e";
const BRIDGE: &str = "mesh0";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 7, 1);
const SUBNET: &str = "10.88.7.0/24";
const NODE: &str = "e2e";

/// Ports need not be looked for in a namespace where nobody else is.
const PLACE: Place = Place { address: ADDRESS, port: 16443, etcd: (12379, 12380) };

/// Starts it all and waits until the node is ready and pods can be made.
///
/// # Errors
/// When a part does not come up.
pub async fn start(launcher: &mut Launcher, images: &Path) -> Result<()> {
    network(&launcher.state)?;
    let authority = control_plane::start(launcher, PLACE).await?;
    let address = ADDRESS.to_string();
    let server = PLACE.server();
    for name in ["controller-manager", "scheduler", "proxy"] {
        authority.client(&server, &format!("kube-{name}"), None, &format!("system:kube-{name}"))?;
    }
    authority.client(&server, "node", Some("system:nodes"), &format!("system:node:{NODE}"))?;
    authority.pair("kubelet", Some("system:nodes"), &format!("system:node:{NODE}"), &[NODE, &address])?;
    controllers(launcher)?;
    runtime(launcher, images).await?;
    kubelet(launcher, &address)?;
    // No network plugin of Debian enforces them.
    symlink(std::env::current_exe()?, launcher.state.path("bin/cluster"))?;
    launcher.start("cluster", &["policies".into(), launcher.state.text("etc/admin.kubeconfig")])?;
    launcher.ready("the node to be ready", node_ready).await
}

/// The namespace with one bridge, which the pods join; the default route leads into it, and nowhere.
fn network(state: &State) -> Result<()> {
    let ip = |args: &str| {
        let args: Vec<&str> = args.split(' ').collect();
        run(std::process::Command::new("ip"), "ip", &args)
    };
    ip(&format!("netns add {NETNS}")).with_context(|| {
        format!("is another test cluster running? If none is: ip netns del {NETNS}, and see that you are root")
    })?;
    state.write("run/netns", NETNS)?;
    ip(&format!("-n {NETNS} link set lo up"))?;
    ip(&format!("-n {NETNS} link add {BRIDGE} type bridge"))?;
    ip(&format!("-n {NETNS} addr add {ADDRESS}/24 dev {BRIDGE}"))?;
    ip(&format!("-n {NETNS} link set {BRIDGE} up"))?;
    ip(&format!("-n {NETNS} route add default via {ADDRESS} dev {BRIDGE}"))?;
    Ok(())
}

fn controllers(launcher: &mut Launcher) -> Result<()> {
    let file = |name: &str| launcher.state.text(name);
    let manager = arguments([
        ("kubeconfig", file("etc/kube-controller-manager.kubeconfig")),
        ("leader-elect", "false".into()),
        ("use-service-account-credentials", "true".into()),
        ("service-account-private-key-file", file("pki/sa.key")),
        ("root-ca-file", file("pki/ca.crt")),
        ("cert-dir", file("run")),
        ("bind-address", "127.0.0.1".into()),
    ]);
    let scheduler = arguments([
        ("kubeconfig", file("etc/kube-scheduler.kubeconfig")),
        ("leader-elect", "false".into()),
        ("cert-dir", file("run")),
        ("bind-address", "127.0.0.1".into()),
    ]);
    launcher.start("kube-controller-manager", &manager)?;
    launcher.start("kube-scheduler", &scheduler)
}

/// containerd, with every image archive of the folder `images` in it.
async fn runtime(launcher: &mut Launcher, images: &Path) -> Result<()> {
    launcher.state.write("cni/10-e2e.conflist", &files::cni(&launcher.state, BRIDGE, SUBNET))?;
    launcher.state.write("etc/containerd.toml", &files::containerd(&launcher.state))?;
    launcher.start("containerd", &["-c".into(), launcher.state.text("etc/containerd.toml")])?;
    let socket = launcher.state.text("run/containerd.sock");
    launcher.ready("containerd to answer", |l| l.run("ctr", &["-a", &socket, "version"])).await?;
    let archives = fs::read_dir(images).with_context(|| format!("cannot list {}: make image", images.display()))?;
    for archive in archives.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "tar")) {
        let archive = archive.display().to_string();
        launcher.run("ctr", &["-a", &socket, "-n", "k8s.io", "images", "import", &archive])?;
    }
    Ok(())
}

fn kubelet(launcher: &mut Launcher, address: &str) -> Result<()> {
    let state = launcher.state.clone();
    state.write("etc/kubelet.yaml", &files::kubelet(&state, address))?;
    let kubelet = arguments([
        ("config", state.text("etc/kubelet.yaml")),
        ("kubeconfig", state.text("etc/node.kubeconfig")),
        ("hostname-override", NODE.into()),
        ("node-ip", address.into()),
        ("root-dir", state.text("kubelet")),
        ("cert-dir", state.text("run")),
    ]);
    launcher.start("kubelet", &kubelet)?;
    state.write("etc/proxy.yaml", &files::kube_proxy(&state, NODE, address, SUBNET))?;
    launcher.start("kube-proxy", &[format!("--config={}", state.text("etc/proxy.yaml"))])
}

fn node_ready(launcher: &Launcher) -> Result<()> {
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    let said = launcher.kubectl(&["get", "node", NODE, "-o", ready])?;
    ensure!(said == "True", "the node's condition Ready is {said:?}");
    launcher.kubectl(&["-n", "default", "get", "serviceaccount", "default"])?;
    Ok(())
}
