//! `mesh-operator check` on a real API server: what it says of a cluster without an installation, of one that works, and of
//! what is wrong in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use e2e::api::ApiServer;
use e2e::cluster::control_plane::free_port;
use e2e::helm::{Helm, chart};
use e2e::objects::{SOON, apply, condition, endpoint, ours};
use e2e::operator::{NAMESPACE, Operator};
use e2e::wait;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Nobody's kubeconfig: an address at which nothing listens.
const NOBODY: &str = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
    clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\n\
    contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\n";

fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator")
}

fn run(kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(program());
    command.arg("check").args(args).env("KUBECONFIG", kubeconfig).env("MESH_OPERATOR_LOG", "off");
    command.output().context("mesh-operator does not run: run the tests by `make test`")
}

/// The findings and the exit code.
fn check(kubeconfig: &Path, args: &[&str]) -> Result<(Vec<Value>, Option<i32>)> {
    let output = run(kubeconfig, &[args, &["-o", "json"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON; it said: {said}"))?;
    ensure!(answer["healthy"] == (output.status.code() == Some(0)), "exit code and answer differ: {answer}");
    Ok((answer["checks"].as_array().context("no checks")?.clone(), output.status.code()))
}

fn find<'f>(findings: &'f [Value], check: &str, subject: &str) -> Result<&'f Value> {
    let found =
        findings.iter().find(|f| f["check"] == check && f["subject"].as_str().is_some_and(|s| s.contains(subject)));
    found.with_context(|| format!("nothing is said of {check} {subject}: {findings:?}"))
}

fn is(findings: &[Value], check: &str, subject: &str, state: &str, said: &str) -> Result<()> {
    let finding = find(findings, check, subject)?;
    let text = finding["said"].as_str().unwrap_or_default();
    ensure!(finding["state"] == state && text.contains(said), "expected {state} {said}: {finding}");
    ensure!(state == "ok" || finding["remedy"].as_str().is_some_and(|r| !r.is_empty()), "no remedy: {finding}");
    Ok(())
}

/// Who administers namespaces alone may install there, but for what is the cluster's.
async fn of_namespaces(client: &Client, server: &ApiServer) -> Result<()> {
    for name in ["team-system", "team-a"] {
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        apply(client, &namespace, |_| true).await?;
        // As the cluster's role `admin` has it, which nobody puts together here.
        let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
        let group = "rbac.authorization.k8s.io";
        let role = json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "team", "namespace": name},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": verbs}]});
        let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
            "metadata": {"name": "team", "namespace": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "team"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "team"}]});
        for object in [role, binding] {
            apply(client, &object.to_string(), |_| true).await?;
        }
    }
    let mut own: Value = serde_yaml::from_str(&std::fs::read_to_string(server.kubeconfig())?)?;
    own["users"][0]["user"]["as"] = "team".into();
    let kubeconfig = server.folder().join("etc/team.kubeconfig");
    std::fs::write(&kubeconfig, own.to_string())?;
    // The API server knows of bindings a moment later.
    let team = wait::until("the team to have its rights", SOON, || async {
        let (said, _) =
            check(&kubeconfig, &["--preflight", "--namespace", "team-system", "--watch-namespaces", "team-a"])?;
        is(&said, "rights", "team-system", "ok", "you may install")?;
        Ok(said)
    });
    let team = team.await?;
    is(&team, "rights", "team-a", "ok", "you may install")?;
    is(&team, "rights", "the cluster", "failed", "you lack: create customresourcedefinitions")?;
    let all = "create clusterroles, create clusterrolebindings, create mutatingwebhookconfigurations";
    is(&team, "rights", "webhook and intake", "warning", all)?;
    is(&team, "rights", "roles", "warning", "the rights that you have yourself")
}

/// A new operator beside the definitions of before: a status with a field that they lack is refused whole. Both the log and the check name
/// what to do, and when it is done the status is right.
async fn of_an_older_definition(client: &Client, server: &ApiServer, operators: &Path) -> Result<()> {
    let definitions = endpoint(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "");
    let replace = |schema: Value| async {
        let mut definition = definitions.get("meshnodes.interconn.dev").await?;
        definition.data["spec"]["versions"][0]["schema"] = schema;
        definitions
            .replace("meshnodes.interconn.dev", &PostParams::default(), &definition)
            .await
            .map_err(anyhow::Error::from)
    };
    let ours_is = definitions.get("meshnodes.interconn.dev").await?.data["spec"]["versions"][0]["schema"].clone();
    let mut older = ours_is.clone();
    let status = older.pointer_mut("/openAPIV3Schema/properties/status/properties").and_then(Value::as_object_mut);
    status.and_then(|fields| fields.remove("configHash")).context("the definition has no such field")?;
    replace(older).await?;
    wait::until("the check to name the field", SOON, || async {
        let (lacking, code) = check(operators, &["--watch-namespaces", "checked"])?;
        is(&lacking, "definitions", "meshnodes", "failed", "without fields of this version: status.configHash")?;
        ensure!(code == Some(1), "{lacking:?}");
        is(&lacking, "definitions", "meshroutes", "ok", "with every field of this version")
    })
    .await?;
    let node = |name: &str| {
        json!({"nodeId": "node-a", "instId": "inst-a", "address": "127.0.0.1:7304", "displayName": name,
            "gateway": {"enabled": false}})
    };
    put(client, "MeshNode", "a", node("under the older definition")).await?;
    let log = server.folder().join("log/check.log");
    wait::until("the log to say what to do", SOON, || async {
        let said = std::fs::read_to_string(&log)?;
        ensure!(said.contains(".status.configHash: field not declared in schema"), "nothing was refused: {said}");
        ensure!(said.contains("apply the definitions of this version"), "no remedy: {said}");
        Ok(())
    })
    .await?;
    replace(ours_is).await?;
    wait::until("the check to find every field", SOON, || async {
        let (whole, _) = check(operators, &["--watch-namespaces", "checked"])?;
        is(&whole, "definitions", "meshnodes", "ok", "with every field of this version")
    })
    .await?;
    put(client, "MeshNode", "a", node("under that of today")).await?;
    let nodes = ours(client, "MeshNode", "checked");
    condition(&nodes, "a", "Ready", "True", "").await?;
    ensure!(nodes.get("a").await?.data["status"]["configHash"].is_string(), "the status is not whole");
    Ok(())
}

/// One test: before, at work, and with faults, in this order in one cluster.
#[tokio::test]
async fn it_says_what_is_wrong_and_what_to_do_before_and_after_an_installation() -> Result<()> {
    let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_check")?;
    let (client, admin) = (server.client().await?, server.kubeconfig());
    let operators = server.folder().join("etc/operator.kubeconfig");

    let (before, code) = check(admin, &["--preflight"])?;
    ensure!(code == Some(0), "an administrator may install: {before:?}");
    is(&before, "kubernetes", "", "ok", "v1.")?;
    let (refused, code) = check(&operators, &["--preflight"])?;
    ensure!(code == Some(1), "who may nothing may not install: {refused:?}");
    is(&refused, "rights", "", "failed", "create customresourcedefinitions")?;
    of_namespaces(&client, server).await?;
    let (absent, code) = check(admin, &["--service-account", "mesh-operator"])?;
    ensure!(code == Some(1), "nothing is installed: {absent:?}");
    is(&absent, "definitions", "meshroutes", "failed", "not installed")?;
    is(&absent, "rights", "all namespaces", "failed", "patch meshnodes/status")?;
    is(&absent, "rights", "the webhook", "warning", "patch mutatingwebhookconfigurations interconn-operator-")?;
    is(&absent, "rights", "the webhook", "warning", "watch secrets interconn-webhook-certificate")?;
    is(&absent, "rights", "the intake, its own objects", "warning", "get services interconn-intake")?;
    is(&absent, "operator", "interconn-operator", "failed", "no Lease")?;

    // Everything of the chart but what needs a kubelet.
    let account = "serviceAccount.name=mesh-operator";
    let rendered = ["template", "interconn", &chart(), "--namespace", NAMESPACE, "--no-hooks", "--set", account];
    let rendered = Helm::on(None).run(&rendered)?;
    apply(&client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"), |_| true).await?;
    apply(&client, &rendered, |kind| !["", "Deployment"].contains(&kind)).await?;
    let served =
        || async { ours(&client, "MeshNode", "checked").list(&Default::default()).await.map(drop).context("list") };
    wait::until("the definitions to be served", SOON, served).await?;
    apply(&client, "{apiVersion: v1, kind: Namespace, metadata: {name: checked}}", |_| true).await?;
    let (alone, code) = check(&operators, &["--watch-namespaces", "checked"])?;
    ensure!(code == Some(1), "no operator runs: {alone:?}");
    is(&alone, "webhook", "namespace.inject", "failed", "no CA bundle")?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let options = [
        ["--webhook-listen", &listen],
        ["--webhook-service", "interconn-webhook"],
        ["--webhook-secret", "interconn-webhook-certificate"],
        ["--webhook-configuration", "interconn-operator-interconn-system"],
    ];
    let (options, program) = (options.as_flattened(), program());
    let leader = Operator::start_with(server, &program, "check", "interconn-operator", "checked", options);
    let mut leader = leader.await?;
    leader.ready().await?;
    // Whoever waited for that makes pods now, and the API server must trust the webhook.
    let (ready, _) = check(&operators, &["--watch-namespaces", "checked"])?;
    is(&ready, "webhook", "namespace.inject", "ok", "its CA lives")?;
    let node =
        json!({"nodeId": "node-a", "instId": "inst-a", "address": "127.0.0.1:7304", "gateway": {"enabled": false}});
    put(&client, "MeshNode", "a", node).await?;
    condition(&ours(&client, "MeshNode", "checked"), "a", "Ready", "True", "").await?;

    // As the operator itself would run it in its pod.
    let good = wait::until("an installation that works", SOON, || async {
        let (good, code) = check(&operators, &["--watch-namespaces", "checked"])?;
        ensure!(code == Some(0), "{good:?}");
        Ok(good)
    })
    .await?;
    is(&good, "webhook", "namespace.inject", "ok", "its CA lives")?;
    is(&good, "rights", "checked", "ok", "all")?;
    is(&good, "rights", "the webhook", "ok", "all 7")?;
    is(&good, "rights", "the intake, its own objects", "ok", "all 3")?;
    is(&good, "operator", "interconn-operator", "ok", "check leads")?;
    is(&good, "node", "checked/a", "ok", "ready")?;
    is(&good, "certificates", "checked/a", "ok", "its root lives")?;
    ensure!(good.iter().any(|f| f["said"].as_str().is_some_and(|s| s.starts_with("its leaf lives"))), "{good:?}");
    let odd = "{apiVersion: v1, kind: Namespace, metadata: {name: odd, labels: {interconn.dev/inject: 'true'}}}";
    apply(&client, odd, |_| true).await?;
    let (seen_by_admin, _) = check(admin, &["--watch-namespaces", "checked"])?;
    is(&seen_by_admin, "labels", "odd", "warning", "brings no sidecar")?;
    ensure!(!seen_by_admin.iter().any(|f| f["check"] == "labels" && f["subject"] != "odd"), "{seen_by_admin:?}");
    is(&seen_by_admin, "definitions", "meshnodes", "ok", "served: v1alpha1")?;
    is(&good, "definitions", "meshnodes", "ok", "with every field of this version")?;
    of_an_older_definition(&client, server, &operators).await?;

    let route = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": "peer"}, "addresses": [{"address": "127.0.0.1:7305"}],
        "trust": {"configMapRef": {"name": "nowhere"}}});
    put(&client, "MeshRoute", "partner", route).await?;
    let routes = ours(&client, "MeshRoute", "checked");
    condition(&routes, "partner", "Accepted", "False", "MissingReference").await?;
    let (faulty, code) = check(&operators, &["--watch-namespaces", "checked"])?;
    ensure!(code == Some(1), "a route is broken: {faulty:?}");
    is(&faulty, "route", "checked/partner", "failed", "not ready")?;
    leader.kill()?;
    let text = String::from_utf8(run(&operators, &["--watch-namespaces", "checked"])?.stdout)?;
    ensure!(text.contains("FAILED") && text.contains("remedy: "), "people are told too: {text}");

    let nobody = server.folder().join("etc/nobody.kubeconfig");
    std::fs::write(&nobody, NOBODY)?;
    ensure!(run(&nobody, &[])?.status.code() == Some(3), "without an API server nothing can be judged");
    Ok(())
}

async fn put(client: &Client, kind: &str, name: &str, spec: Value) -> Result<()> {
    let object = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "checked"}, "spec": spec});
    ours(client, kind, "checked").patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
    Ok(())
}
