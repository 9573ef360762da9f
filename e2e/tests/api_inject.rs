//! Injection on a real API server: the webhook is the operator's own process, which the API server calls by URL.
//!
//! Every test has a namespace, an operator, a webhook configuration and a certificate of its own.

#[path = "inject/away.rs"]
mod away;
#[path = "inject/certificate.rs"]
mod certificate;
#[path = "inject/count.rs"]
mod count;
#[path = "inject/shapes.rs"]
mod shapes;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use e2e::api::ApiServer;
use e2e::cluster::control_plane::free_port;
use e2e::objects::{SOON, apply, endpoint, ours};
use e2e::operator::{self, Operator};
use e2e::{definitions, wait, webhook};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::RwLock;

/// A crowd of pods takes all that a small machine has: whoever makes one has it alone.
static CROWD: RwLock<()> = RwLock::const_new(());

struct Room {
    server: &'static ApiServer,
    client: Client,
    name: &'static str,
}

/// An operator with a webhook, and where that is.
struct Injector {
    operator: Operator,
    port: u16,
}

impl Room {
    /// A namespace whose pods ask for sidecars, under Pod Security *restricted*.
    async fn open(name: &'static str) -> Result<Self> {
        let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_inject")?;
        let client = server.client().await?;
        definitions::install(&client).await?;
        operator::install(&client).await?;
        let labels = "{interconn.dev/inject: enabled, pod-security.kubernetes.io/enforce: restricted}";
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}");
        apply(&client, &namespace, |_| true).await?;
        Ok(Self { server, client, name })
    }

    /// One with an operator that serves and a node.
    async fn with_injector(name: &'static str) -> Result<(Self, Injector)> {
        let room = Self::open(name).await?;
        let injector = room.injector("one").await?;
        room.configure(injector.port, "Fail").await?;
        injector.operator.ready().await?;
        room.node("bank-a").await?;
        room.trusted().await?;
        Ok((room, injector))
    }

    async fn injector(&self, identity: &str) -> Result<Injector> {
        self.injector_with(identity, &[]).await
    }

    async fn injector_with(&self, identity: &str, options: &[&str]) -> Result<Injector> {
        let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
        let port = free_port()?;
        let (listen, secret) = (format!("127.0.0.1:{port}"), self.secret_name());
        let more = [
            "--webhook-listen",
            &listen,
            "--webhook-names",
            "127.0.0.1",
            "--webhook-secret",
            &secret,
            "--webhook-configuration",
            self.name,
            "--image",
            "example.org/mesh:e2e",
        ];
        let (identity, more) = (format!("{}-{identity}", self.name), [&more, options].concat());
        let operator = Operator::start_with(self.server, &program, &identity, self.name, self.name, &more).await?;
        Ok(Injector { operator, port })
    }

    fn secret_name(&self) -> String {
        format!("{}-webhook", self.name)
    }

    /// The configuration as an installer writes it: without the key that is the operator's.
    async fn configure(&self, port: u16, failure_policy: &str) -> Result<()> {
        webhook::configure(&self.client, self.name, port, failure_policy).await
    }

    fn configuration(&self) -> Api<DynamicObject> {
        webhook::configurations(&self.client)
    }

    /// The authorities that the API server is told to trust, for each webhook.
    async fn bundles(&self) -> Result<Vec<String>> {
        webhook::bundles(&self.client, self.name).await
    }

    async fn secret(&self) -> Result<Value> {
        let secrets = endpoint(&self.client, "v1", "Secret", operator::NAMESPACE);
        Ok(secrets.get(&self.secret_name()).await?.data["data"].clone())
    }

    /// Waits until the API server calls the webhook and trusts it.
    async fn trusted(&self) -> Result<()> {
        wait::until("the API server to reach the webhook", SOON, || async {
            let pod = self.dry_run(&plain("probe")).await?;
            ensure!(is_injected(&pod), "the pod has no sidecar");
            Ok(())
        })
        .await
    }

    async fn node(&self, name: &str) -> Result<()> {
        let node = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"nodeId": format!("node-{name}"), "instId": "inst", "address": "127.0.0.1:7304"}});
        let api = ours(&self.client, "MeshNode", self.name);
        api.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&node)).await?;
        Ok(())
    }

    fn pods(&self) -> Api<DynamicObject> {
        endpoint(&self.client, "v1", "Pod", self.name)
    }

    async fn create(&self, pod: &Value) -> Result<Value> {
        self.create_with(pod, &PostParams::default()).await
    }

    async fn dry_run(&self, pod: &Value) -> Result<Value> {
        self.create_with(pod, &PostParams { dry_run: true, ..PostParams::default() }).await
    }

    async fn create_with(&self, pod: &Value, params: &PostParams) -> Result<Value> {
        let pod: DynamicObject = serde_json::from_value(pod.clone())?;
        Ok(serde_json::to_value(self.pods().create(params, &pod).await?)?)
    }

    /// What is said of a pod that must not be admitted.
    async fn refused(&self, pod: &Value) -> Result<String> {
        match self.create(pod).await {
            Ok(pod) => bail!("it was admitted: {pod}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// The reasons of our Events, with whom they are about.
    async fn events(&self) -> Result<Vec<String>> {
        let all = endpoint(&self.client, "events.k8s.io/v1", "Event", self.name).list(&ListParams::default()).await?;
        let of_ours = all.items.iter().filter(|event| event.data["reportingController"] == "interconn-injector");
        let told = |event: &DynamicObject| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", word(&event.data["reason"]), word(&event.data["regarding"]["name"]))
        };
        Ok(of_ours.map(told).collect())
    }
}

/// A pod that passes *restricted*. The API tier has no admission that names the service account.
fn plain(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "serviceAccountName": "default",
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container("app")]}})
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "app:1",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}})
}

/// `pod` with other values in it: pairs of a JSON pointer's last step, below `spec` or `metadata`, and the value.
fn with(mut pod: Value, below: &str, entries: &[(&str, Value)]) -> Value {
    for (name, value) in entries {
        pod[below][*name] = value.clone();
    }
    pod
}

/// Whether the pod's first init container is the sidecar, and a native one.
fn is_injected(pod: &Value) -> bool {
    let first = &pod["spec"]["initContainers"][0];
    first["name"] == "mesh" && first["restartPolicy"] == "Always" && first["image"] == "example.org/mesh:e2e"
}
