//! The CRDs on a real API server: they install, and every case of `fixtures/crds` gets the verdict that its table says.
//!
//! `crds/tests/verdicts.rs` holds the same tables against the Rust validation, so the two agree.

#[path = "fixtures/crds/table.rs"]
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::api::ApiServer;
use e2e::{definitions, wait};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::error::Error;
use serde_json::Value;
use table::{Case, Table, Verdict};

/// Every namespace that a control plane makes by itself appears within a second of its start.
const NAMESPACE: &str = "default";

/// One kind's endpoint, with the strictness that kubectl asks for.
struct Endpoint {
    client: Client,
    kind: String,
    url: String,
}

impl Endpoint {
    fn new(client: &Client, kind: &str) -> Self {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("interconn.dev", "v1alpha1", kind));
        let url = format!("/apis/interconn.dev/v1alpha1/namespaces/{NAMESPACE}/{}", resource.plural);
        Self { client: client.clone(), kind: kind.to_owned(), url }
    }

    async fn send(&self, method: &str, path: &str, query: &str, body: &Value) -> Result<Result<Value, String>> {
        let url = format!("{}{path}?{query}", self.url);
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = http::Request::builder().method(method).uri(url).header("content-type", "application/json");
        match self.client.request::<Value>(request.body(body)?).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Error::Api(status)) if (400..500).contains(&status.code) => Ok(Err(status.message)),
            Err(e) => Err(e).context(format!("{method} {} {path}", self.kind)),
        }
    }

    /// What the API server says to the case: nothing, or why it refuses. Nothing stays behind.
    async fn verdict(&self, case: &Case, number: usize) -> Result<Option<String>> {
        let name = format!("case-{number}");
        let mut document = case.document(&self.kind, &name);
        let Some(old) = case.before(&self.kind, &name) else {
            let said = self.send("POST", "", "fieldValidation=Strict&dryRun=All", &document).await?;
            return Ok(said.err());
        };
        let name = document["metadata"]["name"].as_str().context("a case with `old` needs a name")?.to_owned();
        let created = self.send("POST", "", "fieldValidation=Strict", &old).await?;
        let created = created.map_err(anyhow::Error::msg).context("what exists is refused")?;
        document["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
        let path = format!("/{name}");
        let said = self.send("PUT", &path, "fieldValidation=Strict&dryRun=All", &document).await?;
        self.send("DELETE", &path, "", &Value::Null).await?.map_err(anyhow::Error::msg)?;
        Ok(said.err())
    }
}

/// What is wrong with the server's answer to a case, if anything.
fn judge(case: &Case, said: Option<&str>) -> Option<String> {
    match (case.verdict, said) {
        (Verdict::Accept, None) => None,
        (Verdict::Accept, Some(reason)) => Some(format!("{}: refused, but is to be accepted: {reason}", case.name)),
        (Verdict::Reject, None) => Some(format!("{}: accepted, but is to be refused", case.name)),
        (Verdict::Reject, Some(reason)) if reason.contains(&case.field) => None,
        (Verdict::Reject, Some(reason)) => Some(format!("{}: {} is not named in: {reason}", case.name, case.field)),
    }
}

async fn client() -> Result<Client> {
    let client = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_crds")?.client().await?;
    definitions::install(&client).await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let there = || async { Ok(namespaces.get(NAMESPACE).await?) };
    wait::until("the namespace `default`", Duration::from_secs(30), there).await?;
    Ok(client)
}

/// Runs one table; all wrong verdicts are shown together.
async fn table(file: &str, kind: &str) -> Result<()> {
    let client = client().await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crds").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = serde_yaml::from_str(&text).with_context(|| format!("{file} is no table"))?;
    ensure!(table.kind == kind && !table.cases.is_empty(), "{file} is to hold cases of {kind}");
    let endpoint = Endpoint::new(&client, kind);
    let mut wrong = Vec::new();
    for (number, case) in table.cases.iter().enumerate() {
        let said = endpoint.verdict(case, number).await.with_context(|| case.name.clone())?;
        wrong.extend(judge(case, said.as_deref()));
    }
    if !wrong.is_empty() {
        bail!("{} of {} verdicts differ:\n{}", wrong.len(), table.cases.len(), wrong.join("\n"));
    }
    Ok(())
}

#[tokio::test]
async fn mesh_nodes_get_the_verdicts_of_their_table() -> Result<()> {
    table("node.yaml", "MeshNode").await
}

#[tokio::test]
async fn mesh_routes_get_the_verdicts_of_their_table() -> Result<()> {
    table("route.yaml", "MeshRoute").await
}

#[tokio::test]
async fn service_registrations_get_the_verdicts_of_their_table() -> Result<()> {
    table("registration.yaml", "ServiceRegistration").await
}

#[tokio::test]
async fn a_second_install_of_the_definitions_changes_nothing() -> Result<()> {
    let client = client().await?;
    let api: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition")),
    );
    let before = generations(&api).await?;
    definitions::install(&client).await?;
    ensure!(before == generations(&api).await?, "applying what is there made new generations");
    Ok(())
}

async fn generations(api: &Api<DynamicObject>) -> Result<Vec<(Option<String>, Option<i64>)>> {
    let list = api.list(&kube::api::ListParams::default()).await?;
    Ok(list.items.into_iter().map(|d| (d.metadata.name, d.metadata.generation)).collect())
}
