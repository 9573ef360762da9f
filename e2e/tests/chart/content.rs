//! What the chart makes: the objects of each case of values, held against a list, so that one that is lost is missed; who its webhook
//! asks about; and its life as a part of another chart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::helm::{Helm, chart};
use serde_json::{Value, json};

/// What `Auto` looks for.
const MONITORS: [&str; 4] =
    ["--api-versions", "monitoring.coreos.com/v1", "--api-versions", "gateway.networking.k8s.io/v1"];

/// Beside the cases. `LISTS=write` writes it anew: read the difference.
const LIST: &str = "../cases/objects.txt";

fn objects(rendered: &str) -> Result<Vec<Value>> {
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

fn text<'o>(object: &'o Value, pointer: &str) -> &'o str {
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
