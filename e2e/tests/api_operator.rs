//! The operator on a real API server: what it says of bad input, what it repairs, and what it leaves alone.
//!
//! Every test has a namespace, an operator and a lease of its own, so that they run beside each other.

#[path = "operator/backplane.rs"]
mod backplane;
#[path = "../../sidecar/tests/nodes/harness/charts.rs"]
mod charts;
#[path = "../../sidecar/traces/tests/collector/mod.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "other tests need more of it, and it is written for tests alone"
)]
mod collector;
#[path = "operator/gateway.rs"]
mod gateway;
#[path = "operator/identity.rs"]
mod identity;
#[path = "operator/intake.rs"]
mod intake;
#[path = "operator/issuer.rs"]
mod issuer;
#[path = "operator/lifecycle.rs"]
mod lifecycle;
#[path = "operator/measures.rs"]
mod measures;
#[path = "operator/namespaces.rs"]
mod namespaces;
#[path = "operator/references.rs"]
mod references;
#[path = "operator/refusals.rs"]
mod refusals;
#[path = "operator/restore.rs"]
mod restore;
#[path = "operator/roll.rs"]
mod roll;
#[path = "operator/rooms.rs"]
mod rooms;
#[path = "operator/secrecy.rs"]
mod secrecy;
#[path = "operator/sidecar.rs"]
mod sidecar;
#[path = "operator/upgrade.rs"]
mod upgrade;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::api::ApiServer;
use e2e::objects::{SOON, apply, condition, endpoint, ours};
use e2e::operator::{self, Operator};
use e2e::{callers, definitions, wait};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

/// Another bank's root, as its operator would publish it: certificate and key.
fn partner_root() -> Result<(String, String)> {
    root_until(time::OffsetDateTime::now_utc() + time::Duration::days(3650))
}

fn root_until(end: time::OffsetDateTime) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = end - time::Duration::days(4000);
    params.not_after = end;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

struct Room {
    server: &'static ApiServer,
    client: Client,
    name: &'static str,
}

impl Room {
    async fn open(name: &'static str) -> Result<Self> {
        let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_operator")?;
        let client = server.client().await?;
        definitions::install(&client).await?;
        operator::install(&client).await?;
        apply(&client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"), |_| true).await?;
        Ok(Self { server, client, name })
    }

    async fn operator(&self, identity: &str) -> Result<Operator> {
        let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
        Operator::start(self.server, &program, &format!("{}-{identity}", self.name), self.name, self.name).await
    }

    async fn put(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.name}, "spec": spec});
        ours(&self.client, kind, self.name).patch(name, &force(), &Patch::Apply(&object)).await?;
        Ok(())
    }

    async fn node(&self, name: &str, more: Value) -> Result<()> {
        let mut spec = json!({"nodeId": format!("node-{name}"), "instId": format!("inst-{name}"),
            "address": "127.0.0.1:7304", "gateway": {"enabled": false}});
        for (member, value) in more.as_object().into_iter().flatten() {
            spec[member.as_str()] = value.clone();
        }
        self.put("MeshNode", name, spec).await
    }

    async fn route(&self, name: &str, trust: Value) -> Result<()> {
        let spec = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": format!("peer-{name}")},
            "addresses": [{"address": "127.0.0.1:7305"}], "trust": trust});
        self.put("MeshRoute", name, spec).await
    }

    /// What `kubectl get -o wide` shows of one of our objects: each column's name and cell.
    async fn shown(&self, plural: &str, name: &str) -> Result<serde_json::Map<String, Value>> {
        let uri = format!("/apis/interconn.dev/v1alpha1/namespaces/{}/{plural}/{name}", self.name);
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let request = http::Request::get(uri).header("accept", accept).body(Vec::new())?;
        let table: Value = self.client.request(request).await?;
        let columns = table["columnDefinitions"].as_array().context("no columns")?;
        let cells = table["rows"][0]["cells"].as_array().context("no cells")?;
        let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_owned();
        Ok(columns.iter().map(name).zip(cells.iter().cloned()).collect())
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let version = match kind {
            "StatefulSet" => "apps/v1",
            "NetworkPolicy" => "networking.k8s.io/v1",
            "PodDisruptionBudget" => "policy/v1",
            _ => "v1",
        };
        endpoint(&self.client, version, kind, self.name)
    }

    /// Edits an object of the operator by hand, and waits until nothing of it is left.
    async fn is_taken_back(&self, kind: &str, name: &str, edit: Value) -> Result<()> {
        let edited = self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
        wait::until(&format!("the edit of {kind} {name} to be taken back"), SOON, || async {
            let now = self.api(kind).get(name).await?;
            ensure!(now.data != edited.data, "{} stands", now.data);
            Ok(())
        })
        .await
    }

    /// Deletes an object of the operator, and waits until there is another one.
    async fn comes_back(&self, kind: &str, name: &str) -> Result<()> {
        let before = self.api(kind).get(name).await?.metadata.uid;
        self.api(kind).delete(name, &Default::default()).await?;
        wait::until(&format!("{kind} {name} to come back"), SOON, || async {
            ensure!(self.api(kind).get(name).await?.metadata.uid != before, "it is the old one");
            Ok(())
        })
        .await
    }

    async fn condition(&self, kind: &str, name: &str, what: &str, status: &str, reason: &str) -> Result<()> {
        condition(&ours(&self.client, kind, self.name), name, what, status, reason).await
    }

    async fn ready(&self, kind: &str, name: &str) -> Result<()> {
        self.condition(kind, name, "Ready", "True", "").await
    }
}

fn force() -> PatchParams {
    PatchParams::apply("e2e").force()
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_standby_takes_over() -> Result<()> {
    let room = Room::open("leader").await?;
    let mut first = room.operator("first").await?;
    first.ready().await?;
    let second = room.operator("second").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    ensure!(first.leads().await? && !second.leads().await?, "there are two leaders, or another one");
    first.kill()?;
    second.ready().await?;
    room.node("b", json!({})).await?;
    room.ready("MeshNode", "b").await
}

#[tokio::test]
async fn an_object_of_our_name_that_is_not_ours_is_left_alone() -> Result<()> {
    let room = Room::open("conflict").await?;
    let _operator = room.operator("one").await?;
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh-a"}, "data": {"mine": "yes"}});
    room.api("ConfigMap").patch("mesh-a", &force(), &Patch::Apply(&theirs)).await?;
    room.node("a", json!({})).await?;
    room.condition("MeshNode", "a", "Ready", "False", "NameConflict").await?;
    let kept = room.api("ConfigMap").get("mesh-a").await?;
    ensure!(kept.data["data"] == theirs["data"], "it was changed: {}", kept.data);
    room.api("ConfigMap").delete("mesh-a", &Default::default()).await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn a_bad_resource_harms_no_other() -> Result<()> {
    let room = Room::open("harm").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("garbage", json!({"rootPEMs": ["-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----"]}))
        .await?;
    room.route("absent", json!({"configMapRef": {"name": "nowhere"}})).await?;
    room.put(
        "MeshRoute",
        "lost",
        json!({"nodeRef": {"name": "nobody"}, "peer": {"nodeId": "x"},
        "trust": {"configMapRef": {"name": "nowhere"}}}),
    )
    .await?;
    room.route("good", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshNode", "a").await?;
    room.ready("MeshRoute", "good").await?;
    for (route, reason) in [("garbage", "BadRoot"), ("absent", "MissingReference"), ("lost", "NodeNotFound")] {
        room.condition("MeshRoute", route, "Accepted", "False", reason).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_users_edit_of_our_objects_is_taken_back() -> Result<()> {
    let room = Room::open("edit").await?;
    let operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    for (kind, name, edit) in [
        ("Secret", "mesh-a-leaf", json!({"data": {"tls.crt": "bm9uZQ=="}})),
        ("ConfigMap", "mesh-a", json!({"data": {"node.json": "{}"}})),
        ("ConfigMap", "a-root", json!({"data": {"ca.crt": ""}})),
        ("Service", "mesh-a", json!({"spec": {"selector": {"interconn.dev/node": "other"}}})),
        ("Service", "mesh-a", json!({"spec": {"selector": {"also": "this"}}})),
    ] {
        room.is_taken_back(kind, name, edit).await?;
        wait::until(&format!("an Event about {kind} {name}"), SOON, || async {
            let events =
                endpoint(&room.client, "events.k8s.io/v1", "Event", room.name).list(&Default::default()).await?;
            let begin = format!("{kind} {name} was changed by ");
            let is_told = |event: &DynamicObject| {
                event.data["reason"] == "Repaired"
                    && event.data["regarding"]["kind"] == "MeshNode"
                    && event.data["note"].as_str().is_some_and(|note| note.starts_with(&begin))
            };
            ensure!(events.items.iter().any(is_told), "{} Events, none of them", events.items.len());
            Ok(())
        })
        .await?;
    }
    let (_, metrics) = operator.get("/metrics").await?;
    ensure!(metrics.contains(r#"mesh_operator_repairs_total{kind="Secret"} 1"#), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn each_of_our_objects_comes_back_when_it_is_deleted() -> Result<()> {
    let room = Room::open("repair").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    let root = room.api("ConfigMap").get("a-root").await?.data["data"].clone();
    for (kind, name) in [
        ("Secret", "mesh-a-leaf"),
        ("ConfigMap", "mesh-a"),
        ("ConfigMap", "mesh-a-routes-0"),
        ("ConfigMap", "a-root"),
        ("Service", "mesh-a"),
    ] {
        room.comes_back(kind, name).await?;
    }
    ensure!(room.api("ConfigMap").get("a-root").await?.data["data"] == root, "the node has another root now");
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn all_that_is_written_for_a_node_goes_with_it_but_its_root() -> Result<()> {
    let room = Room::open("owned").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshNode", "a").await?;
    let uid = ours(&room.client, "MeshNode", room.name).get("a").await?.metadata.uid;
    let mut found = 0;
    for kind in ["Secret", "ConfigMap", "Service"] {
        let all = room.api(kind).list(&ListParams::default().labels("interconn.dev/node=a")).await?;
        for object in all {
            found += 1;
            let owners = object.metadata.owner_references.unwrap_or_default();
            // What has an owner is collected by Kubernetes when the owner goes.
            ensure!(
                owners.iter().any(|o| Some(&o.uid) == uid.as_ref()),
                "{kind} {:?} has no owner",
                object.metadata.name
            );
        }
    }
    ensure!(found >= 4, "only {found} objects carry the label");
    let roots = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let root = roots.get("mesh-root.owned.a").await.context("no root is kept")?;
    ensure!(root.metadata.owner_references.is_none(), "the root would go with the node");
    Ok(())
}
