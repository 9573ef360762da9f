//! etcd and the API server: what the API tier runs on, and the first half of the node tier. Needs no root.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail, ensure};

use super::files;
use super::launch::Launcher;
use super::pki::Authority;

/// Where the API server of this cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The address that it says of itself; it listens on all.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Two ports for etcd: clients, peers.
    pub etcd: (u16, u16),
}

impl Place {
    /// On free ports of loopback.
    ///
    /// # Errors
    /// When there are none.
    pub fn loopback() -> Result<Self> {
        Ok(Self { address: Ipv4Addr::LOCALHOST, port: free_port()?, etcd: (free_port()?, free_port()?) })
    }

    /// The URL of the API server.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections, so that none of these takes
/// it between our look and the server's bind. Starts at a place of our own, for processes that look at one time, and
/// never gives a port twice.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    static LOOKED: AtomicU32 = AtomicU32::new(0);
    let start = (std::process::id() % 1000) * 12;
    for _ in 0..12_000 {
        let port = u16::try_from(20_000 + (start + LOOKED.fetch_add(1, Ordering::Relaxed)) % 12_000)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 32000 on 127.0.0.1")
}

/// Starts both and waits until the API server is ready; gives back the authority for further clients.
///
/// # Errors
/// When one of them does not come up.
pub async fn start(launcher: &mut Launcher, place: Place) -> Result<Authority> {
    let authority = Authority::create(&launcher.state)?;
    let address = place.address.to_string();
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1"];
    authority.pair("apiserver", None, "kube-apiserver", &[names.as_slice(), &[&address]].concat())?;
    authority.client(&place.server(), "admin", Some("system:masters"), "admin")?;
    launcher.state.write("etc/audit.yaml", files::AUDIT)?;

    launcher.start("etcd", &etcd(launcher, place))?;
    launcher.start("kube-apiserver", &api_server(launcher, place))?;
    let look = |l: &Launcher| {
        let said = l.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"])?;
        ensure!(said == "ok", "/readyz says {said}");
        Ok(())
    };
    launcher.ready("the API server to be ready", look).await?;
    Ok(authority)
}

fn etcd(launcher: &Launcher, place: Place) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{}", place.etcd.0);
    let peers = format!("http://127.0.0.1:{}", place.etcd.1);
    let flags = [
        ("data-dir", launcher.state.text("etcd")),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("default={peers}")),
        ("log-level", "warn".into()),
    ];
    // What it holds is thrown away with the test: no need to wait for the disk.
    let mut args = arguments(flags);
    args.push("--unsafe-no-fsync".into());
    args
}

fn api_server(launcher: &Launcher, place: Place) -> Vec<String> {
    let file = |name: &str| launcher.state.text(name);
    arguments([
        ("etcd-servers", format!("http://127.0.0.1:{}", place.etcd.0)),
        ("bind-address", if place.address.is_loopback() { "127.0.0.1" } else { "0.0.0.0" }.into()),
        ("advertise-address", place.address.to_string()),
        ("secure-port", place.port.to_string()),
        // From 1.37 on nobody is told of an API server on loopback as the Service `kubernetes`; without the flag it does not start.
        ("endpoint-reconciler-type", if place.address.is_loopback() { "none" } else { "" }.into()),
        ("cert-dir", file("run")),
        ("client-ca-file", file("pki/ca.crt")),
        ("tls-cert-file", file("pki/apiserver.crt")),
        ("tls-private-key-file", file("pki/apiserver.key")),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-signing-key-file", file("pki/sa.key")),
        ("service-account-key-file", file("pki/sa.pub")),
        ("service-cluster-ip-range", "10.96.0.0/16".into()),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        // Without it a service account has to exist before a pod, and the API tier has no controller that makes one.
        ("disable-admission-plugins", if place.address.is_loopback() { "ServiceAccount" } else { "" }.into()),
        ("audit-policy-file", file("etc/audit.yaml")),
        ("audit-log-path", file("log/audit.log")),
        // Tests count the writes in it: it must be written at once and stay one file.
        ("audit-log-mode", "blocking".into()),
        ("audit-log-maxsize", "1000".into()),
        // For `kubectl logs` and `exec` on a node that no name leads to.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        ("kubelet-client-certificate", file("pki/admin.crt")),
        ("kubelet-client-key", file("pki/admin.key")),
        ("kubelet-certificate-authority", file("pki/ca.crt")),
    ])
}

/// Flags as the programs of Kubernetes take them.
pub fn arguments<const N: usize>(flags: [(&str, String); N]) -> Vec<String> {
    flags.into_iter().filter(|(_, v)| !v.is_empty()).map(|(name, value)| format!("--{name}={value}")).collect()
}
