//! What the chart says beside its templates: its definitions are ours, and its alerts and its dashboard speak of metrics that
//! the programs have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chart(file: &str) -> Result<String> {
    let path = root().join("charts/interconn").join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

#[test]
fn the_chart_brings_the_definitions_that_the_types_make() -> Result<()> {
    let ours = fs::read_to_string(root().join("crds/crds.yaml"))?;
    ensure!(chart("files/crds.yaml")? == ours, "charts/interconn/files/crds.yaml differs: run `make crds`");
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_programs() -> Result<()> {
    let said: Value = serde_yaml::from_str(&chart("Chart.yaml")?)?;
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        said["version"] == version && said["appVersion"] == version,
        "the programs are {version}, the chart: {said}"
    );
    Ok(())
}

/// How Prometheus names what is registered as a counter, a gauge or a histogram.
fn exported(name: &str, kind: &str) -> Vec<String> {
    match kind {
        "Counter" => vec![format!("{name}_total")],
        "Histogram" => ["bucket", "count", "sum"].iter().map(|part| format!("{name}_{part}")).collect(),
        _ => vec![name.to_owned()],
    }
}

/// Every metric that the source registers. A scrape would lack the families in which nothing was counted yet.
fn registered() -> Result<BTreeSet<String>> {
    Ok(sources()?.iter().flat_map(|(_, source)| registered_in(source)).collect())
}

/// The source of the programs, by its path in the repository.
fn sources() -> Result<Vec<(String, String)>> {
    let mut folders = vec!["operator/src".to_owned(), "sidecar".to_owned()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder))? {
            let path = entry?.path();
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                folders.push(name);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(sources)
}

fn registered_in(source: &str) -> Vec<String> {
    let kinds = kinds(source);
    let mut names = Vec::new();
    let rooms = source.split("sub_registry_with_prefix(\"").skip(1);
    for room in rooms {
        let prefix = room.split('"').next().unwrap_or_default();
        for call in room.split(".register").skip(1) {
            let unit = if call.starts_with("_with_unit(") { "_seconds" } else { "" };
            let Some((_, arguments)) = call.split_once('(') else { continue };
            let Some(name) = arguments.trim_start().strip_prefix('"').and_then(|a| a.split('"').next()) else {
                continue;
            };
            // The last argument: `metrics.pushes.clone()`, whose field says what it is.
            let argument = arguments.split(".clone()").next().unwrap_or_default();
            let mut parts = argument.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let kind = parts.find_map(|part| kinds.get(part)).map_or("", String::as_str);
            names.extend(exported(&format!("{prefix}_{name}{unit}"), kind));
        }
    }
    // What a collector writes: whole names, and behind them what they are.
    for (at, _) in source.match_indices("\"mesh_") {
        let rest = source.get(at + 1..).unwrap_or_default();
        let Some((name, behind)) = rest.split_once('"') else { continue };
        let is_prefix = source.get(..at).is_some_and(|before| before.ends_with("with_prefix("));
        if !is_prefix && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            let first = ["Counter", "Gauge"].into_iter().min_by_key(|kind| behind.find(kind).unwrap_or(usize::MAX));
            names.extend(exported(name, first.unwrap_or_default()));
        }
    }
    // What is looked up when it is asked for: pairs of a name and its text, beside one format.
    if let Some((before, _)) = source.split_once("_{name}\")") {
        let prefix = before.rsplit('"').next().unwrap_or_default();
        let rows = source.split("(\"").skip(1).filter_map(|row| row.split_once("\", \""));
        names.extend(rows.map(|(name, _)| format!("{prefix}_{name}")));
    }
    names
}

/// The fields of a source file, by what they count with.
fn kinds(source: &str) -> BTreeMap<String, String> {
    let fields = source.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    let kind = |text: &str| {
        let last = |kind: &&str| {
            text == *kind || text.starts_with(&format!("{kind}<")) || text.contains(&format!(", {kind}>"))
        };
        ["Counter", "Histogram", "Gauge"].into_iter().find(last).map(str::to_owned)
    };
    let name = |text: &str| text.rsplit(' ').next().unwrap_or_default().to_owned();
    let mut kinds: BTreeMap<String, String> =
        fields.filter_map(|(field, text)| Some((name(field), kind(text)?))).collect();
    // A struct around a family and its counters.
    kinds.entry("calls".into()).or_insert_with(|| "Counter".into());
    kinds
}

/// The expressions of alerts and dashboard, by where they stand.
fn expressions() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    for alert in alerts()? {
        all.push((text(&alert["alert"]), text(&alert["expr"])));
    }
    let dashboard: Value = serde_json::from_str(&chart("files/dashboard.json")?)?;
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        if variable["type"] == "query" {
            all.push((text(&variable["name"]), text(&variable["definition"])));
        }
    }
    Ok(all)
}

fn alerts() -> Result<Vec<Value>> {
    let alerts: Value = serde_yaml::from_str(&chart("files/alerts.yaml")?)?;
    let groups = alerts["groups"].as_array().context("no groups")?;
    Ok(groups.iter().flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default()).collect())
}

fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("mesh_"))
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_there_are() -> Result<()> {
    let (registered, expressions) = (registered()?, expressions()?);
    for known in [
        "mesh_operator_writes_total",
        "mesh_transport_bytes",
        "mesh_transport_room_wait_seconds_count",
        "mesh_tunnel_bytes_total",
    ] {
        ensure!(registered.contains(known), "{known} is not found in the source: the reading of it is broken");
    }
    ensure!(expressions.len() > 30, "only {} expressions were read", expressions.len());
    let mut wrong = Vec::new();
    for (place, expression) in &expressions {
        let named: Vec<&str> = metrics(expression).collect();
        ensure!(!named.is_empty(), "{place} names no metric of ours: {expression}");
        wrong.extend(
            named.into_iter().filter(|name| !registered.contains(*name)).map(|name| format!("{place}: {name}")),
        );
    }
    ensure!(wrong.is_empty(), "metrics that no program has: {wrong:?}");
    Ok(())
}

#[test]
fn the_reading_of_the_source_tells_counters_from_gauges() {
    let source = "struct M {\n    made: Family<Kind, Counter>,\n    now: Gauge<f64, AtomicU64>,\n    took: Histogram,\n}\n\
        let r = registry.sub_registry_with_prefix(\"mesh_x\");\n\
        r.register(\"made\", \"Things\", m.made.clone());\n\
        r.register(\n    \"now\",\n    \"Things, now\",\n    m.now.clone(),\n);\n\
        r.register_with_unit(\"took\", text, Unit::Seconds, m.took.clone());\n\
        encoder.encode_descriptor(\"mesh_x_bytes\", help, None, MetricType::Counter)?;\n";
    let expected = [
        "mesh_x_made_total",
        "mesh_x_now",
        "mesh_x_took_seconds_bucket",
        "mesh_x_took_seconds_count",
        "mesh_x_bytes_total",
    ];
    let found = registered_in(source);
    assert!(expected.iter().all(|name| found.iter().any(|f| f == name)) && found.len() == 6, "{found:?}");
}

/// The names of labels in a source file: fields of what is a label set, and those that are written out at a look.
fn labels_in(source: &str) -> Vec<String> {
    let program = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = Vec::new();
    for set in program.split("EncodeLabelSet)]").skip(1) {
        let fields = set.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(fields, _)| fields);
        let fields = fields.lines().filter(|line| !line.trim_start().starts_with("//"));
        names.extend(fields.filter_map(|line| Some(line.split_once(':')?.0.rsplit(' ').next()?.to_owned())));
    }
    for look in program.split("encode_family(&[(\"").skip(1) {
        names.extend(look.split('"').next().map(str::to_owned));
    }
    names
}

/// A label with the name of something that traffic brings would make a series of each (engineering: bounded label sets).
#[test]
fn labels_of_metrics_are_those_of_the_list_and_none_of_them_grows_with_the_traffic() -> Result<()> {
    // `k`: of the original grid's metrics, as its dashboards know them.
    let words = [
        "call",
        "code",
        "condition",
        "direction",
        "k",
        "kind",
        "listener",
        "outcome",
        // register and join.
        "plane",
        "policy",
        "reason",
        "rpc",
        "status",
        "what",
    ];
    // Each with the room whose configuration or bound says how many there are.
    let of_a_room = [
        // Nodes that are not ready, 500 at most.
        ("operator/src/node_metrics.rs", "node"),
        ("operator/src/node_metrics.rs", "node_namespace"),
        // Those that the configuration names, and `topics.count` others at a time.
        ("sidecar/grid/", "topic"),
        // The nodes of a subnet.
        ("sidecar/tunnel/", "node"),
        // The nine messages of a directory.
        ("sidecar/directory/", "number"),
    ];
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, source) in sources()? {
        for label in labels_in(&source) {
            count += 1;
            let is_of_its_room = of_a_room.iter().any(|(room, name)| path.starts_with(room) && *name == label);
            if !words.contains(&label.as_str()) && !is_of_its_room {
                wrong.push(format!("{path}: {label}"));
            }
        }
    }
    ensure!(count > 20, "only {count} labels were read: the reading of the source is broken");
    ensure!(wrong.is_empty(), "labels that are not in the list: {wrong:?}");
    let source = "#[derive(Clone, EncodeLabelSet)]\npub(crate) struct A {\n    /// Its pod: no.\n    pub(crate) pod: String,\n}\n";
    ensure!(labels_in(source) == ["pod"], "{:?}", labels_in(source));
    Ok(())
}

#[test]
fn each_alert_says_what_to_do_and_stands_in_the_guide() -> Result<()> {
    let guide = fs::read_to_string(root().join("docs/observability.md"))?;
    let alerts = alerts()?;
    ensure!(alerts.len() > 10, "only {} alerts were read", alerts.len());
    for alert in alerts {
        let name = alert["alert"].as_str().context("an alert without a name")?;
        for part in ["summary", "description"] {
            ensure!(alert["annotations"][part].as_str().is_some_and(|t| t.len() > 20), "{name} has no {part}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(["info", "warning", "critical"].contains(&severity), "{name} has the severity {severity:?}");
        ensure!(guide.contains(&format!("| `{name}` |")), "docs/observability.md does not have {name}");
    }
    Ok(())
}
