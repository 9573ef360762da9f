//! The chart on a real API server: installed, upgraded twice, uninstalled; and what its roles let the operator do.
//!
//! No pod runs here: the operator is a process with the rights of the chart's service account.

#[path = "chart/content.rs"]
mod content;
#[path = "chart/rights.rs"]
mod rights;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::api::ApiServer;
use e2e::cluster::control_plane::free_port;
use e2e::helm::{Helm, chart};
use e2e::objects::{SOON, apply, condition, endpoint, ours};
use e2e::operator::{NAMESPACE, Operator};
use e2e::{definitions, wait};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The service account that the operator of these tests is to the API server.
const ACCOUNT: [&str; 2] = ["--set", "serviceAccount.name=mesh-operator"];

/// One looks at all that is in the cluster, and the others make things: they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

async fn server() -> Result<(&'static ApiServer, Client, Helm)> {
    let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_chart")?;
    let helm = Helm::on(Some(server.kubeconfig()));
    Ok((server, server.client().await?, helm))
}

async fn namespace(client: &Client, name: &str) -> Result<()> {
    apply(client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"), |_| true).await
}

/// Every object of the cluster that can be listed, as `kind namespace/name`; what the API server keeps for itself left out.
async fn inventory(client: &Client) -> Result<BTreeSet<String>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut all = BTreeSet::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let theirs = ["Event", "APIService", "IPAddress", "PriorityLevelConfiguration", "FlowSchema"]
                .contains(&resource.kind.as_str());
            if theirs || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            debug_assert!(matches!(capabilities.scope, Scope::Cluster | Scope::Namespaced));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list(&ListParams::default()).await?.items {
                let place = object.metadata.namespace.unwrap_or_default();
                // Elections and identities of the API server itself.
                if !["kube-system", "kube-public", "kube-node-lease", "default"].contains(&place.as_str()) {
                    all.insert(format!("{} {place}/{}", resource.kind, object.metadata.name.unwrap_or_default()));
                }
            }
        }
    }
    Ok(all)
}

fn webhooks(client: &Client) -> Api<DynamicObject> {
    endpoint(client, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "")
}

const CONFIGURATION: &str = "interconn-operator-interconn-system";

async fn bundles(client: &Client) -> Result<Vec<String>> {
    let configuration = webhooks(client).get(CONFIGURATION).await?;
    let all = configuration.data["webhooks"].as_array().context("no webhooks")?.clone();
    Ok(all.iter().map(|w| w["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A release with its operator, which here is a process beside the API server.
struct Release {
    name: &'static str,
    operator: Operator,
}

impl Release {
    async fn install(server: &ApiServer, helm: &Helm, name: &'static str, more: &[&str]) -> Result<Self> {
        helm.run(&[&["install", name, &chart(), "--namespace", NAMESPACE], &ACCOUNT[..], more].concat())?;
        let fullname = if name.contains("interconn") { name.to_owned() } else { format!("{name}-interconn") };
        let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
        let (listen, lease) = (format!("127.0.0.1:{}", free_port()?), format!("{fullname}-operator"));
        let (service, configuration) = (format!("{fullname}-webhook"), format!("{lease}-{NAMESPACE}"));
        let options = [
            ["--webhook-listen", &listen],
            ["--webhook-service", &service],
            ["--webhook-secret", &format!("{service}-certificate")],
            ["--webhook-configuration", &configuration],
        ];
        let operator = Operator::start_with(server, &program, name, &lease, "", options.as_flattened()).await?;
        operator.ready().await?;
        Ok(Self { name, operator })
    }

    fn upgrade(&self, helm: &Helm, more: &[&str]) -> Result<()> {
        helm.run(&[&["upgrade", self.name, &chart(), "--namespace", NAMESPACE], &ACCOUNT[..], more].concat()).map(drop)
    }

    fn uninstall(mut self, helm: &Helm) -> Result<()> {
        self.operator.end()?;
        helm.run(&["uninstall", self.name, "--namespace", NAMESPACE]).map(drop)
    }
}

/// Applies the node and waits until the operator has dealt with it; gives back its public root.
async fn node(client: &Client, shown: &str) -> Result<Value> {
    let spec = json!({"nodeId": "node-a", "instId": "inst-a", "displayName": shown, "address": "127.0.0.1:7304",
        "gateway": {"enabled": false}});
    let node = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode",
        "metadata": {"name": "a", "namespace": "bank"}, "spec": spec});
    let nodes = ours(client, "MeshNode", "bank");
    nodes.patch("a", &PatchParams::apply("e2e"), &Patch::Apply(&node)).await?;
    condition(&nodes, "a", "Ready", "True", "").await?;
    Ok(endpoint(client, "v1", "ConfigMap", "bank").get("a-root").await?.data["data"].clone())
}

#[tokio::test]
async fn an_installation_is_upgraded_twice_removed_and_made_again_under_another_name() -> Result<()> {
    let _turn = TURN.lock().await;
    let (server, client, helm) = server().await?;
    namespace(&client, NAMESPACE).await?;
    namespace(&client, "bank").await?;
    let before = inventory(&client).await?;
    let first = Release::install(server, &helm, "interconn", &[]).await?;
    let root = node(&client, "A").await?;

    // The chart leaves the bundle out, the operator writes it: no upgrade may take it away or be refused for it.
    let trusted = wait::until("the operator to write its CA bundle", SOON, || async {
        let bundles = bundles(&client).await?;
        ensure!(bundles.len() == 2 && bundles.iter().all(|b| !b.is_empty()), "{bundles:?}");
        Ok(bundles)
    })
    .await?;
    for replicas in ["replicas=3", "replicas=2"] {
        first.upgrade(&helm, &["--set", replicas])?;
        ensure!(bundles(&client).await? == trusted, "an upgrade changed the CA bundle");
    }
    first.uninstall(&helm)?;

    // The definitions were kept, and with them the node; the new release takes them over, and the node goes on as who it was.
    let second = Release::install(server, &helm, "other", &["--take-ownership"]).await?;
    ensure!(node(&client, "A again").await? == root, "the node has another root now");
    ours(&client, "MeshNode", "bank").delete("a", &Default::default()).await?;
    second.uninstall(&helm)?;

    let kept = ["meshnodes", "meshroutes", "serviceregistrations"];
    let kept = kept.map(|d| format!("CustomResourceDefinition /{d}.interconn.dev"));
    let mut expected: BTreeSet<String> = kept.into_iter().collect();
    expected.insert(format!("Secret {NAMESPACE}/mesh-root.bank.a"));
    // What a node owned is collected by a controller, which is not here.
    let owned = owned(&client).await?;
    let now = inventory(&client).await?;
    let left: BTreeSet<String> = now.difference(&before).filter(|o| !owned.contains(*o)).cloned().collect();
    ensure!(left == expected, "left behind: {left:?}");
    Ok(())
}

/// What the node owned.
async fn owned(client: &Client) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for kind in ["Secret", "ConfigMap", "Service"] {
        for object in endpoint(client, "v1", kind, "bank").list(&ListParams::default()).await?.items {
            if object.metadata.owner_references.iter().flatten().any(|o| o.kind == "MeshNode") {
                all.insert(format!("{kind} bank/{}", object.metadata.name.unwrap_or_default()));
            }
        }
    }
    Ok(all)
}

#[tokio::test]
async fn what_the_chart_makes_is_taken_by_the_api_server() -> Result<()> {
    let _turn = TURN.lock().await;
    let (_, client, helm) = server().await?;
    namespace(&client, "rendered").await?;
    for namespace_of_a_tenant in ["bank-a", "bank-b"] {
        namespace(&client, namespace_of_a_tenant).await?;
    }
    // As their projects define them.
    for name in ["servicemonitors", "podmonitors", "prometheusrules"] {
        definitions::add(&client, &format!("monitoring.coreos.com_{name}")).await?;
    }
    definitions::add(&client, "cert-manager.io_certificates").await?;
    let cases = Path::new(&chart()).join("../cases/taken");
    let mut taken = 0;
    for case in std::fs::read_dir(&cases)? {
        let case = case?.path().display().to_string();
        let objects =
            helm.run(&["template", "rendered", &chart(), "--namespace", "rendered", "--values", &case, "--no-hooks"])?;
        taken += is_taken(&client, &objects).await.with_context(|| case.clone())?;
    }
    ensure!(taken > 30, "only {taken} objects were looked at");
    Ok(())
}

/// Those who have kubectl alone apply this.
#[tokio::test]
async fn the_file_for_kubectl_alone_is_taken_by_the_api_server() -> Result<()> {
    let _turn = TURN.lock().await;
    let (server, client, _) = server().await?;
    namespace(&client, NAMESPACE).await?;
    let folder = server.folder().join("chart");
    let program = std::env::var_os("HELM").unwrap_or_else(|| "helm".into());
    let mut build = std::process::Command::new(Path::new(&chart()).join("../build.sh"));
    let built = build.arg(program).arg(&folder).output().context("charts/build.sh")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let taken = is_taken(&client, &std::fs::read_to_string(folder.join("interconn.yaml"))?).await?;
    ensure!(taken > 15, "only {taken} objects are in it");
    ensure!(folder.join(concat!("interconn-", env!("CARGO_PKG_VERSION"), ".tgz")).exists(), "no package");

    // As people apply it: the largest definition fits into the annotation that kubectl keeps, and a second time keeps the bundle,
    // which the file does not name.
    let file = folder.join("interconn.yaml");
    let by_kubectl = |verb: &str, file: &Path| kubectl(server, &[verb, "-f", &file.display().to_string()]);
    let said = by_kubectl("apply", &file)?;
    ensure!(said.lines().count() == taken, "{taken} objects: {said}");
    let of = |webhook: u8| json!({"op": "add", "path": format!("/webhooks/{webhook}/clientConfig/caBundle"), "value": A_BUNDLE});
    let bundle = Patch::Json::<()>(serde_json::from_value(json!([of(0), of(1)]))?);
    webhooks(&client).patch(CONFIGURATION, &PatchParams::default(), &bundle).await?;
    let said = by_kubectl("apply", &file)?;
    ensure!(said.lines().count() == taken, "{taken} objects: {said}");
    let bundles = bundles(&client).await?;
    ensure!(bundles == [A_BUNDLE, A_BUNDLE], "the CA bundle was taken away: {bundles:?}");
    let deployment = endpoint(&client, "apps/v1", "Deployment", NAMESPACE).get("interconn-operator").await?;
    ensure!(deployment.metadata.generation == Some(1), "the second time rolls the operator out anew: {said}");

    // The namespace is the other tests' too, and the first object of the file.
    let rest = folder.join("rest.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&rest, text.split_once("\n---").context("one object is in it")?.1)?;
    by_kubectl("delete", &rest).map(drop)
}

/// A certificate in PEM as far as the API server looks, in base64.
const A_BUNDLE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";

/// The kubectl of the cluster's programs.
fn kubectl(server: &ApiServer, args: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new(server.folder().join("bin/kubectl"));
    let done = command.args(args).env("KUBECONFIG", server.kubeconfig()).output().context("cannot run kubectl")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "kubectl {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether the API server would take each object, and every field of it; answers how many there are.
async fn is_taken(client: &Client, objects: &str) -> Result<usize> {
    let mut taken = 0;
    for document in serde_yaml::Deserializer::from_str(objects) {
        let object: Value = serde::Deserialize::deserialize(document)?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if object.is_null() {
            continue;
        }
        let api = endpoint(client, text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
        let mut params = PatchParams::apply("dry").force();
        params.dry_run = true;
        params.field_validation = Some(kube::api::ValidationDirective::Strict);
        let name = text("/metadata/name");
        let answer = api.patch(name, &params, &Patch::Apply(&object)).await;
        answer.with_context(|| format!("{} {name} is refused", text("/kind")))?;
        taken += 1;
    }
    Ok(taken)
}

#[test]
fn the_commands_that_helm_shows_next_can_be_run_as_they_stand_there() -> Result<()> {
    content::next_commands()
}

#[test]
fn each_case_of_values_makes_the_objects_of_its_list() -> Result<()> {
    content::each_case()
}

#[test]
fn the_chart_works_under_a_parent() -> Result<()> {
    content::under_a_parent()
}

#[test]
fn the_webhook_asks_for_no_pod_of_the_system_or_of_its_own_namespace() -> Result<()> {
    content::webhook_spares_the_system()
}

#[test]
fn operators_reach_each_others_webhook_where_their_policy_holds_them() -> Result<()> {
    content::operators_reach_each_others_webhook()
}

/// What the operator then says to pods is in its own tests.
#[tokio::test]
async fn a_collector_in_the_values_reaches_the_operator_and_is_let_out_to() -> Result<()> {
    let (_, _, helm) = server().await?;
    let rendered = |template: &str, more: &[&str]| -> Result<Value> {
        let show = format!("templates/{template}.yaml");
        let args = ["template", "rendered", &chart(), "--show-only", &show, "--set"];
        let held = "networkPolicy.apiServerCIDRs={10.0.0.1/32}";
        Ok(serde_yaml::from_str(&helm.run(&[&args[..], &[held], more].concat())?)?)
    };
    let variables = |deployment: &Value| {
        let all =
            deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        let is_of_traces = |name: &str| name.starts_with("OTEL_") || name == "MESH_COLLECTOR_ROOT";
        all.into_iter().filter(|v| is_of_traces(v["name"].as_str().unwrap_or_default())).collect::<Vec<_>>()
    };
    ensure!(variables(&rendered("deployment", &[])?).is_empty(), "off unless somebody wants it");
    let on = [
        "--set",
        "telemetry.otlp.endpoint=https://collector.observability.svc:4317,telemetry.ratio=0.25",
        "--set",
        "telemetry.otlp.rootPEM=-----BEGIN CERTIFICATE-----\nMIIB\n",
    ];
    let who = "service.instance.id=$(MESH_OPERATOR_IDENTITY),k8s.pod.name=$(MESH_OPERATOR_IDENTITY),\
        k8s.namespace.name=$(MESH_OPERATOR_NAMESPACE)";
    let wanted = json!([
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "https://collector.observability.svc:4317"},
        {"name": "MESH_COLLECTOR_ROOT", "value": "-----BEGIN CERTIFICATE-----\nMIIB\n"},
        {"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio"},
        {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.25"},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": who},
    ]);
    let said = variables(&rendered("deployment", &on)?);
    ensure!(Value::from(said.clone()) == wanted, "{said:?}");
    let rules = |policy: &Value| policy["spec"]["egress"].as_array().cloned().unwrap_or_default();
    let last = rules(&rendered("networkpolicy", &on)?).pop();
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "observability"}});
    ensure!(last == Some(json!({"to": [{"namespaceSelector": namespace}]})), "{last:?}");
    let outside = ["--set", "telemetry.otlp.endpoint=http://10.0.0.9:4318"];
    let last = rules(&rendered("networkpolicy", &outside)?).pop();
    ensure!(last == Some(json!({"ports": [{"protocol": "TCP", "port": 4318}]})), "{last:?}");
    Ok(())
}

#[tokio::test]
async fn the_operator_may_do_what_it_does_and_nothing_else() -> Result<()> {
    let _turn = TURN.lock().await;
    let (_, client, helm) = server().await?;
    rights::everywhere(&client, &helm).await?;
    rights::in_named_namespaces(&client, &helm).await
}

/// Waits until a release's roles are in force: the authorizer learns of them by a watch.
async fn in_force(client: &Client, account: &str, rights: &BTreeSet<rights::Right>) -> Result<()> {
    wait::until("the roles to be in force", SOON, || rights::all(client, account, true, rights)).await
}
