//! What the chart makes: the objects of each case of values, held against a list, so that one that is lost is missed; who its webhook
//! asks about; and its life as a part of another chart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::helm::{Helm, chart};
use serde_json::{Value, json};

/// What `Auto` looks for.
const MONITORS: [&str; 4] =
    ["--api-versions", "monitoring.coreos.com/v1", "--api-versions", "gateway.networking.k8s.io/v1"];

/// Beside the cases. `LISTS=write` writes it anew: read the difference.
const LIST: &str = "../cases/objects.txt";

pub(super) fn objects(rendered: &str) -> Result<Vec<Value>> {
    let all = serde_yaml::Deserializer::from_str(rendered).map(|document| {
        let object: Value = serde::Deserialize::deserialize(document)?;
        Ok(object)
    });
    let all: Vec<Value> = all.collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}

fn render(more: &[&str]) -> Result<Vec<Value>> {
    let chart = chart();
    let fixed = ["template", "rendered", chart.as_str(), "--namespace", "rendered"];
    objects(&Helm::on(None).run(&[&fixed, more].concat())?)
}

pub(super) fn text<'o>(object: &'o Value, pointer: &str) -> &'o str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The objects of a rendering, and what of the Deployment people set and would miss.
fn described(objects: &[Value]) -> String {
    let mut lines: Vec<String> = objects
        .iter()
        .map(|object| format!("  {} {}", text(object, "/kind"), text(object, "/metadata/name")))
        .collect();
    lines.sort();
    for object in objects.iter().filter(|object| object["kind"] == "Deployment") {
        let pod = &object["spec"]["template"]["spec"];
        let names = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().map(|entry| text(entry, "/name").to_owned()).collect()
        };
        let spread = pod["topologySpreadConstraints"].as_array().into_iter().flatten();
        let spread: Vec<&str> = spread.map(|constraint| text(constraint, "/topologyKey")).collect();
        lines.push(format!("  pod: pull secrets {:?}, spread over {spread:?}", names(&pod["imagePullSecrets"])));
    }
    lines.join("\n")
}

pub(super) fn each_case() -> Result<()> {
    let folder = PathBuf::from(chart()).join("../cases/taken");
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_stem().context("no name")?.to_string_lossy().into_owned();
        let values = path.display().to_string();
        cases.insert(name.clone(), described(&render(&["--values", &values])?));
        if name == "defaults" {
            let with_apis = [&["--values", values.as_str()], &MONITORS[..]].concat();
            cases.insert("defaults, where the cluster has the API of monitors".into(), described(&render(&with_apis)?));
        }
    }
    let mut found = String::from("# What the chart makes of each case of values (e2e/tests/chart/content.rs).\n");
    for (name, objects) in &cases {
        writeln!(found, "{name}:\n{objects}")?;
    }
    let list = Path::new(&chart()).join(LIST);
    if std::env::var_os("LISTS").is_some_and(|value| value == "write") {
        fs::write(&list, &found)?;
    }
    let kept = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    ensure!(found == kept, "differs from charts/cases/objects.txt (LISTS=write writes it anew):\n{found}");
    Ok(())
}

/// Another chart that has ours as a part, as people write it: `enabled` and `global` are known, and `enabled: false` makes nothing.
pub(super) fn under_a_parent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let parent = folder.path();
    let dependency = json!([{"name": "interconn", "version": env!("CARGO_PKG_VERSION"), "condition": "interconn.enabled",
        "repository": format!("file://{}", fs::canonicalize(chart())?.display())}]);
    let description = json!({"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": dependency});
    fs::write(parent.join("Chart.yaml"), description.to_string())?;
    fs::write(parent.join("values.yaml"), "{}")?;
    let helm = Helm::on(None);
    let place = parent.display().to_string();
    helm.run(&["dependency", "update", "--skip-refresh", &place])?;
    let render = |more: &[&str]| objects(&helm.run(&[&["template", "parent", place.as_str()], more].concat())?);
    let on = render(&["--set", "interconn.enabled=true,global.imageRegistry=registry.example,interconn.replicas=3"])?;
    let operator = on.iter().find(|object| object["kind"] == "Deployment").context("no operator")?;
    let image = text(operator, "/spec/template/spec/containers/0/image");
    ensure!(operator["spec"]["replicas"] == 3 && image.starts_with("registry.example/"), "{operator}");
    ensure!(render(&["--set", "interconn.enabled=false"])?.is_empty(), "it is switched off, and makes something");
    let refused = render(&["--set", "interconn.replica=3"]);
    ensure!(refused.is_err(), "a key that is none is taken");
    Ok(())
}

/// Whether a label selector's expressions take these labels, as API servers read them.
fn takes(selector: &Value, labels: &[(&str, &str)]) -> Result<bool> {
    let mut takes = selector["matchLabels"].is_null();
    for expression in selector["matchExpressions"].as_array().context("no expressions")? {
        let have = labels.iter().find(|(key, _)| expression["key"] == *key).map(|(_, value)| *value);
        let values = expression["values"].as_array().context("no values")?;
        let is_in = have.is_some_and(|have| values.iter().any(|value| value == have));
        takes &= match text(expression, "/operator") {
            "In" => is_in,
            "NotIn" => !is_in,
            other => anyhow::bail!("another operator: {other}"),
        };
    }
    Ok(takes)
}

const INJECT: &str = "interconn.dev/inject";
const NAME: &str = "kubernetes.io/metadata.name";

/// Under `Fail` a pod that is asked about waits for the operator: never one that the operator, or the cluster, needs to come back.
pub(super) fn webhook_spares_the_system() -> Result<()> {
    for values in ["webhook.failurePolicy=Fail", "watchNamespaces={bank}"] {
        let all = render(&["--set", values])?;
        let configuration = all.iter().find(|object| object["kind"] == "MutatingWebhookConfiguration");
        let webhooks = configuration.context("no webhook")?["webhooks"].as_array().context("no webhooks")?.clone();
        let asked = |namespace: &[(&str, &str)], pod: &[(&str, &str)]| -> Result<bool> {
            let one = |webhook: &Value| {
                Ok(takes(&webhook["namespaceSelector"], namespace)? && takes(&webhook["objectSelector"], pod)?)
            };
            webhooks.iter().map(one).try_fold(false, |any, one: Result<bool>| Ok(any | one?))
        };
        for spared in ["kube-system", "kube-public", "kube-node-lease", "rendered"] {
            // Whatever its labels say.
            for pod in [&[][..], &[(INJECT, "enabled")]] {
                ensure!(!asked(&[(NAME, spared), (INJECT, "enabled")], pod)?, "{values}: asked about {spared} {pod:?}");
            }
        }
        let enabled = [(NAME, "bank"), (INJECT, "enabled")];
        ensure!(asked(&enabled, &[])?, "{values}: not asked where it was wanted");
        ensure!(asked(&[(NAME, "bank")], &[(INJECT, "enabled")])?, "{values}: not asked by a pod");
        ensure!(!asked(&[(NAME, "bank")], &[])?, "{values}: asked where nobody wants it");
        ensure!(!asked(&enabled, &[(INJECT, "disabled")])?, "{values}: asked about a pod that opted out");
        ensure!(!asked(&enabled, &[("interconn.dev/role", "gateway")])?, "{values}: asked about a gateway");
    }
    Ok(())
}

/// `mesh-operator check` in one of two pods calls the webhook's Service, which may lead to the other one.
pub(super) fn operators_reach_each_others_webhook() -> Result<()> {
    let policy = |values: &str| -> Result<Value> {
        let all = render(&["--set", values])?;
        let found = all.into_iter().find(|object| object["kind"] == "NetworkPolicy");
        Ok(found.context("no policy")?["spec"].clone())
    };
    let of_port = |rules: &Value, way: &str| -> Value {
        let mut rules = rules.as_array().into_iter().flatten();
        rules.find(|rule| rule["ports"][0]["port"] == 9443).map_or(Value::Null, |rule| rule[way].clone())
    };
    let held = policy("networkPolicy.apiServerCIDRs={10.0.0.1/32}")?;
    let (operators, api_server) =
        (json!({"podSelector": held["podSelector"]}), json!({"ipBlock": {"cidr": "10.0.0.1/32"}}));
    ensure!(of_port(&held["ingress"], "from") == json!([api_server, operators]), "{held}");
    ensure!(of_port(&held["egress"], "to") == json!([operators]), "{held}");
    // Where name servers listen on another port, policies see that one: without it no collector is found by its name.
    let to_names = ["UDP", "TCP"].map(|protocol| [53, 5353].map(|port| json!({"protocol": protocol, "port": port})));
    let let_out = || held["egress"].as_array().into_iter().flatten().filter(|rule| rule["to"].is_null());
    let is_let_out =
        |port: &Value| let_out().any(|rule| rule["ports"].as_array().is_some_and(|all| all.contains(port)));
    ensure!(to_names.as_flattened().iter().all(is_let_out), "{held}");
    let named = policy("networkPolicy.webhookFrom[0].ipBlock.cidr=10.0.0.1/32")?;
    ensure!(of_port(&named["ingress"], "from") == json!([api_server, operators]), "{named}");
    ensure!(named["egress"].is_null(), "its egress was not to be held: {named}");
    let open = policy("replicas=2")?;
    ensure!(of_port(&open["ingress"], "from").is_null(), "the webhook is open to all unless somebody says: {open}");
    let without = policy("webhook.enabled=false,networkPolicy.apiServerCIDRs={10.0.0.1/32}")?;
    ensure!(!without.to_string().contains("9443"), "there is no webhook: {without}");
    Ok(())
}

/// What Helm says when it is done can be taken from the screen as it stands there: a heredoc would not end where it is indented.
pub(super) fn next_commands() -> Result<()> {
    for (values, namespace) in
        [("replicas=2", "default"), ("watchNamespaces={bank}", "bank"), ("webhook.enabled=false", "default")]
    {
        let chart = chart();
        let install = ["install", "mine", chart.as_str(), "--namespace", "system", "--dry-run=client", "--set", values];
        let said = Helm::on(None).run(&install)?;
        let (made, notes) = said.split_once("\nNOTES:\n").context("no notes")?;
        let commands: Vec<&str> = notes.lines().filter(|line| line.starts_with("     ")).collect();
        // Each says what it was told, and what came to it.
        let tell = r#"tell() { echo "$@"; case " $* " in *" -f - "*) cat;; esac; }; kubectl() { tell kubectl "$@"; }; helm() { tell helm "$@"; }"#;
        let done = Command::new("bash").args(["-euc", &format!("{tell}\n{}", commands.join("\n"))]).output()?;
        let told = String::from_utf8(done.stdout)?;
        ensure!(done.status.success(), "{values}: {}", String::from_utf8_lossy(&done.stderr));
        let node = told.lines().find(|line| line.starts_with('{')).context("no MeshNode")?;
        let (node, ids): (Value, _) =
            (serde_yaml::from_str(node)?, json!({"nodeId": "LX0000010000280", "instId": "JG0100002800000000"}));
        let wanted = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode", "metadata": {"name": "mine"}, "spec": ids});
        ensure!(node == wanted, "{values}: {node}");
        let of_operator = "-n system exec deployment/mine-interconn-operator";
        ensure!(made.contains("name: mine-interconn-operator"), "{values}: there is no such Deployment");
        let applies = format!("kubectl apply -n {namespace} -f -");
        for wanted in [applies.as_str(), "kubectl get meshnodes,meshroutes,serviceregistrations", of_operator] {
            ensure!(told.contains(wanted), "{values}: {wanted:?} is not in\n{told}");
        }
        let (has_webhook, tests) = (!values.starts_with("webhook"), "helm test mine -n system");
        let label = format!("kubectl label namespace {namespace} {INJECT}=enabled");
        for wanted in [tests, &label] {
            ensure!(told.contains(wanted) == has_webhook, "{values}: {wanted:?}, in\n{told}");
        }
    }
    Ok(())
}
