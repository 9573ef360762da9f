//! An institution of the node tier: its manifests, its pods, its partner, and its application's book.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::cluster::process::{self, Process};
use crate::kubectl::{apply, kubectl};
use crate::ledger::Ledger;
use crate::wait;

const MANIFEST: &str = include_str!("../manifests/institution.yaml");
const INJECTED: &str = include_str!("../manifests/injected.yaml");

/// Who an institution is. Its name is also the name of its namespace.
#[derive(Clone, Copy, Debug)]
pub struct Institution {
    /// The name.
    pub bank: &'static str,
    /// The node's id.
    pub id: &'static str,
    /// The institution's id.
    pub institution: &'static str,
    /// The Service's address.
    pub address: &'static str,
    /// What its application does: `push` or `pop`.
    pub work: &'static str,
    /// How many pods do it.
    pub replicas: u32,
    /// Where its gateway's state is, as `gateway.storage` says it.
    pub storage: &'static str,
}

/// A gateway whose state goes with its pod.
pub const EPHEMERAL: &str = "{mode: Ephemeral}";

/// The one that pushes.
pub const A: Institution = Institution {
    bank: "bank-a",
    id: "LX0000010000280",
    institution: "JG0100002800000000",
    address: "10.96.77.1",
    work: "push",
    replicas: 1,
    storage: EPHEMERAL,
};

/// The one that pops.
pub const B: Institution = Institution {
    bank: "bank-b",
    id: "LX0000010000270",
    institution: "JG0100002700000000",
    address: "10.96.77.2",
    work: "pop",
    replicas: 1,
    storage: EPHEMERAL,
};

impl Institution {
    /// Everything of it, for kubectl.
    #[must_use]
    pub fn manifest(&self, partner: &Self) -> String {
        self.filled(MANIFEST, partner)
    }

    /// Everything of it where the chart is installed: its pods are injected, its node has a gateway.
    #[must_use]
    pub fn injected_manifest(&self, partner: &Self) -> String {
        self.filled(INJECTED, partner)
    }

    fn filled(&self, manifest: &str, partner: &Self) -> String {
        let replicas = self.replicas.to_string();
        let values = [
            ("{replicas}", replicas.as_str()),
            ("{storage}", self.storage),
            ("{bank}", self.bank),
            ("{id}", self.id),
            ("{institution}", self.institution),
            ("{address}", self.address),
            ("{work}", self.work),
            ("{partner-id}", partner.id),
            ("{partner-institution}", partner.institution),
            ("{partner-address}", partner.address),
        ];
        values.into_iter().fold(manifest.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// The name of its one pod, or of one of them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pod(&self, client: &Client) -> Result<String> {
        self.pods(client).await?.pop().with_context(|| format!("{} has no pod", self.bank))
    }

    /// The names of its pods that are not about to end.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, client: &Client) -> Result<Vec<String>> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), self.bank);
        let list = pods.list(&ListParams::default().labels(&format!("app={}", self.bank))).await?;
        let alive = list.items.into_iter().filter(|p| p.metadata.deletion_timestamp.is_none());
        Ok(alive.filter_map(|p| p.metadata.name).collect())
    }

    /// Carries the partner's address and root over, as people do: by address, for there is no cluster DNS in the test cluster,
    /// and the certificate proves the node's id all the same. Of several roots all are taken.
    ///
    /// # Errors
    /// When the partner does not publish them in time.
    pub async fn introduce(&self, partner: &Self, limit: Duration) -> Result<()> {
        let (ip, root) = wait::until("the partner's Service and root", limit, || async move {
            let of = |object: &str, path: &str| {
                kubectl(&["-n", partner.bank, "get", object, "-o", &format!("jsonpath={path}")], "")
            };
            let (ip, root) =
                (of("service/mesh-node", "{.spec.clusterIP}")?, of("configmap/node-root", r"{.data.ca\.crt}")?);
            ensure!(!ip.is_empty() && root.contains("BEGIN CERTIFICATE"), "address {ip:?}, root {root:?}");
            Ok((ip, root))
        })
        .await?;
        self.route(partner, &format!("{ip}:7304"), &root)
    }

    /// Writes the route to the partner, with each certificate of `roots` as one that it may show.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn route(&self, partner: &Self, address: &str, roots: &str) -> Result<()> {
        let end = "-----END CERTIFICATE-----";
        let pems: Vec<String> =
            roots.split_inclusive(end).filter(|pem| pem.contains(end)).map(|p| p.trim().into()).collect();
        let route = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute",
            "metadata": {"name": "partner", "namespace": self.bank},
            "spec": {"nodeRef": {"name": "node"}, "peer": {"nodeId": partner.id, "instId": partner.institution},
                "addresses": [{"address": address}], "trust": {"rootPEMs": pems}}});
        apply(&route.to_string())
    }

    /// Its application's book, through the API server's proxy: that works from outside of every cluster.
    ///
    /// # Errors
    /// When the pod is not there or does not answer.
    pub async fn ledger(&self, client: &Client) -> Result<Ledger> {
        let text = self.get(client, 8080, "ledger").await?;
        serde_json::from_str(&text).context("the ledger is no ledger")
    }

    /// What a port of its pod answers.
    ///
    /// # Errors
    /// When the pod is not there or does not answer.
    pub async fn get(&self, client: &Client, port: u16, path: &str) -> Result<String> {
        let pod = self.pod(client).await?;
        self.get_from(client, &pod, port, path).await
    }

    /// What a port of one of its pods answers, its gateway's included.
    ///
    /// # Errors
    /// When the pod is not there or does not answer.
    pub async fn get_from(&self, client: &Client, pod: &str, port: u16, path: &str) -> Result<String> {
        let url = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/{path}", self.bank);
        let request = http::Request::get(url).body(Vec::new())?;
        client.request_text(request).await.with_context(|| format!("{pod} does not answer at {port}/{path}"))
    }
}

/// Kills a pod's program from outside, as the kernel would for want of memory.
///
/// # Errors
/// When there is no such process, or it is not ours to see (needs root on the node's machine).
pub fn kill(pod: &str, command: &str) -> Result<()> {
    let of_pod = |p: &Process| {
        let environment = std::fs::read(format!("/proc/{}/environ", p.pid)).unwrap_or_default();
        let hostname = format!("HOSTNAME={pod}");
        environment.split(|b| *b == 0).any(|variable| variable == hostname.as_bytes())
    };
    let found = process::called_with(command)?.into_iter().find(of_pod);
    found.with_context(|| format!("no process {command} of {pod} is to be seen: this needs root on the node"))?.kill();
    Ok(())
}

/// The program of the pod with this UID, as its machine sees it.
///
/// # Errors
/// When there is no such process, or it is not ours to see (needs root on the node's machine).
pub fn program_of(uid: &str, command: &str) -> Result<Process> {
    // Control groups of systemd have no hyphens in their names.
    let names = [uid.to_owned(), uid.replace('-', "_")];
    let of_pod = |p: &Process| {
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", p.pid)).unwrap_or_default();
        names.iter().any(|name| groups.contains(name))
    };
    let found = process::called_with(command)?.into_iter().find(of_pod);
    found.with_context(|| format!("no process {command} of pod {uid} is to be seen: this needs root on the node"))
}
