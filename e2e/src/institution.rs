//! One of the two institutions of the node tier: its manifest, its pod, and its application's book.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};

use crate::cluster::process::{self, Process};
use crate::ledger::Ledger;

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
}

/// The one that pushes.
pub const A: Institution = Institution {
    bank: "bank-a",
    id: "LX0000010000280",
    institution: "JG0100002800000000",
    address: "10.96.77.1",
    work: "push",
};

/// The one that pops.
pub const B: Institution = Institution {
    bank: "bank-b",
    id: "LX0000010000270",
    institution: "JG0100002700000000",
    address: "10.96.77.2",
    work: "pop",
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
        let values = [
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

    /// The name of its one pod.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pod(&self, client: &Client) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), self.bank);
        let list = pods.list(&ListParams::default().labels(&format!("app={}", self.bank))).await?;
        let alive = list.items.into_iter().find(|p| p.metadata.deletion_timestamp.is_none());
        alive.and_then(|p| p.metadata.name).with_context(|| format!("{} has no pod", self.bank))
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
