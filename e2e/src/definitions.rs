//! Installs the committed CRDs, so that tests meet what users apply.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde::Deserialize;
use serde_json::Value;

use crate::wait;

/// The API server serves a new kind within a second or two.
const SERVED: Duration = Duration::from_secs(30);

/// The committed definitions.
///
/// # Errors
/// When the file is not there or not YAML.
pub fn committed() -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/crds.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut definitions = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        definitions.push(Value::deserialize(document).context("crds/crds.yaml is not YAML")?);
    }
    Ok(definitions)
}

/// Applies them and waits until all are served.
///
/// # Errors
/// When one is refused or not served in time.
pub async fn install(client: &Client) -> Result<()> {
    for definition in committed()? {
        serve(client, &definition).await?;
    }
    Ok(())
}

/// The same with a definition that another project publishes, whole: `GROUP_PLURAL` of those that `e2e/setup.sh` fetches.
///
/// # Errors
/// When it was not fetched, is refused, or not served in time.
pub async fn add(client: &Client, name: &str) -> Result<()> {
    let folder = std::env::var_os("DEFINITIONS_OF_OTHERS");
    let folder = folder.context("DEFINITIONS_OF_OTHERS names no folder: run the tests by `make test`")?;
    let path = Path::new(&folder).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serve(client, &Value::deserialize(serde_yaml::Deserializer::from_str(&text))?).await
}

async fn serve(client: &Client, definition: &Value) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition["metadata"]["name"].as_str().context("a definition without name")?.to_owned();
    let params = PatchParams::apply("e2e").force();
    api.patch(&name, &params, &Patch::Apply(definition)).await.with_context(|| format!("{name} is refused"))?;
    wait::until(&format!("{name} to be served"), SERVED, || served(&api, &name)).await
}

async fn served(api: &Api<CustomResourceDefinition>, name: &str) -> Result<()> {
    let conditions = api.get_status(name).await?.status.and_then(|s| s.conditions).unwrap_or_default();
    if let Some(bad) = conditions.iter().find(|c| c.type_ == "NonStructuralSchema" && c.status == "True") {
        bail!("the schema is not structural: {}", bad.message.as_deref().unwrap_or_default());
    }
    let established = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
    ensure!(established, "not established: {conditions:?}");
    Ok(())
}
