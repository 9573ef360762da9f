//! Faults at the worst moments, on a real API server: the operator dies at each of its writes, everything is lost but a backup,
//! people and programs edit what the operator is about to write.
//!
//! Every case has a namespace, an operator and a lease of its own.

#[path = "faults/edited.rs"]
mod edited;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/restored.rs"]
mod restored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::api::ApiServer;
use e2e::objects::{SOON, apply, condition, endpoint, ours};
use e2e::operator::{self, Operator};
use e2e::{definitions, wait};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Several operators start and die beside each other; a small machine that is busy gets this long for each step.
const LATE: Duration = Duration::from_secs(240);

/// The kinds that are written for a node, with their API versions.
const KINDS: [(&str, &str); 6] = [
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
    ("Service", "v1"),
    ("ServiceAccount", "v1"),
    ("StatefulSet", "apps/v1"),
    ("NetworkPolicy", "networking.k8s.io/v1"),
];

/// Another bank's root.
fn partner_root() -> Result<String> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(root.self_signed(&KeyPair::generate()?)?.pem())
}

/// A namespace with a node `a`, whatever becomes of it.
struct Room {
    server: &'static ApiServer,
    client: Client,
    name: String,
}

impl Room {
    async fn open(name: &str) -> Result<Self> {
        let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_faults")?;
        let client = server.client().await?;
        definitions::install(&client).await?;
        operator::install(&client).await?;
        apply(&client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"), |_| true).await?;
        Ok(Self { server, client, name: name.to_owned() })
    }

    fn program() -> PathBuf {
        Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator")
    }

    /// The next operator of the room's release.
    async fn operator(&self, which: &str) -> Result<Operator> {
        self.forget_lease().await?;
        let identity = format!("{}-{which}", self.name);
        Operator::start(self.server, &Self::program(), &identity, &self.name, &self.name).await
    }

    /// Takes away the Lease of an operator that is dead, which would be waited for.
    async fn forget_lease(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), operator::NAMESPACE);
        match leases.delete(&self.name, &DeleteParams::default()).await {
            Err(error) if !matches!(&error, kube::Error::Api(status) if status.code == 404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn put(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.name}, "spec": spec});
        let api = ours(&self.client, kind, &self.name);
        api.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
        Ok(())
    }

    async fn node(&self, gateway: bool) -> Result<()> {
        let spec = json!({"nodeId": format!("node-{}", self.name), "instId": "inst", "address": "127.0.0.1:7304",
            "certificates": {"rootDeletionPolicy": "Delete"}, "gateway": {"enabled": gateway}});
        self.put("MeshNode", "a", spec).await
    }

    async fn route(&self, name: &str) -> Result<()> {
        let spec = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": format!("peer-{name}")},
            "addresses": [{"address": "127.0.0.1:7305"}],
            "trust": {"rootPEMs": [partner_root()?]}});
        self.put("MeshRoute", name, spec).await
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let version = KINDS.iter().find(|(known, _)| *known == kind).map_or("v1", |(_, version)| version);
        endpoint(&self.client, version, kind, &self.name)
    }

    fn roots(&self) -> Api<DynamicObject> {
        endpoint(&self.client, "v1", "Secret", operator::NAMESPACE)
    }

    async fn condition(&self, kind: &str, name: &str, what: &str, status: &str) -> Result<()> {
        let api = ours(&self.client, kind, &self.name);
        wait::until(&format!("{what}={status} of {name}"), LATE, || condition(&api, name, what, status, "")).await
    }

    /// What there is for the node, roots included, as `kind/name`.
    async fn written(&self) -> Result<BTreeSet<String>> {
        let of_node = ListParams::default().labels("interconn.dev/node=a");
        let mut all = BTreeSet::new();
        for (kind, _) in KINDS {
            for object in self.api(kind).list(&of_node).await?.items {
                all.insert(format!("{kind}/{}", object.metadata.name.unwrap_or_default()));
            }
        }
        for root in ["mesh-root", "mesh-member-root", "mesh-rooms"] {
            if self.roots().get_opt(&format!("{root}.{}.a", self.name)).await?.is_some() {
                all.insert(root.to_owned());
            }
        }
        Ok(all)
    }

    /// A file of the node, from whichever object holds it.
    async fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        for kind in ["ConfigMap", "Secret"] {
            for object in self.api(kind).list(&ListParams::default().labels("interconn.dev/node=a")).await?.items {
                let mine = object.metadata.name.as_deref().is_some_and(|n| n.starts_with("mesh-a"));
                let Some(text) = object.data["data"][name].as_str().filter(|_| mine) else { continue };
                return Ok(Some(if kind == "Secret" { STANDARD.decode(text)? } else { text.as_bytes().to_vec() }));
            }
        }
        Ok(None)
    }

    /// Holds every file that the manifest names against its sum: what does not fit, no reader takes.
    async fn is_whole(&self) -> Result<()> {
        let manifest = self.file("manifest.json").await?.context("there is no manifest")?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        for (name, sum) in manifest["files"].as_object().context("the manifest names no file")? {
            let file = self.file(name).await?.with_context(|| format!("{name} is named and not there"))?;
            let is = Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect::<String>();
            ensure!(sum == &is, "{name} is another one than the manifest says");
        }
        Ok(())
    }

    /// The roots that partners find, as PEM.
    async fn published(&self) -> Result<BTreeSet<String>> {
        const END: &str = "-----END CERTIFICATE-----";
        let map = self.api("ConfigMap").get_opt("a-root").await?;
        let text = map.and_then(|map| Some(map.data["data"]["ca.crt"].as_str()?.to_owned())).unwrap_or_default();
        Ok(text.split_inclusive(END).map(|pem| pem.trim().to_owned()).filter(|pem| pem.ends_with(END)).collect())
    }

    /// The files of a Secret; none where it is not there.
    async fn secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
        let Some(secret) = endpoint(&self.client, "v1", "Secret", namespace).get_opt(name).await? else {
            return Ok(BTreeMap::new());
        };
        let files = secret.data["data"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| anyhow::Ok(String::from_utf8(STANDARD.decode(value.as_str().unwrap_or_default())?)?);
        files.iter().map(|(file, value)| Ok((file.clone(), text(value)?))).collect()
    }

    /// The same of a Secret of the node in the operator's namespace.
    async fn kept(&self, what: &str) -> Result<BTreeMap<String, String>> {
        self.secret(operator::NAMESPACE, &format!("{what}.{}.a", self.name)).await
    }
}
