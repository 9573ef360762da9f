//! Clusters of others: what `make install` does to them, the configuration that kind gets, held against what the tests of the node tier ask of a cluster (kind itself needs
//! Docker), and when the cluster that a kubeconfig names is refused.

#[path = "kind/install.rs"]
mod install;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::institution::{A, B};
use serde_json::Value;

/// What `kind.sh config` prints, as kind reads it.
fn config(variables: &[(&str, &str)]) -> Result<Value> {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/kind.sh"));
    command.arg("config").env_remove("E2E_KUBERNETES");
    let output = command.envs(variables.iter().copied()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_yaml::from_slice(&output.stdout).context("no YAML")
}

#[test]
fn the_cluster_of_kind_is_what_the_tests_ask_for() -> Result<()> {
    let made = config(&[])?;
    ensure!(made["kind"] == "Cluster" && made["apiVersion"] == "kind.x-k8s.io/v1alpha4", "{made}");
    // Addresses of Services that manifests name.
    ensure!(made["networking"]["serviceSubnet"] == "10.96.0.0/16", "{made}");
    ensure!([A, B].iter().all(|bank| bank.address.starts_with("10.96.")), "outside of the Services' range");
    // One node: programs in pods are killed from this machine, and volumes are made on it.
    let nodes = made["nodes"].as_array().context("no nodes")?;
    ensure!(nodes.len() == 1 && nodes[0]["role"] == "control-plane" && nodes[0]["image"].is_null(), "{nodes:?}");
    // Where a test makes its volumes.
    let volumes = std::env::temp_dir().join("interconn-e2e-volumes").display().to_string();
    let mount = &nodes[0]["extraMounts"][0];
    ensure!(mount["hostPath"] == volumes && mount["containerPath"] == volumes, "{mount}");
    let elsewhere = &config(&[("TMPDIR", "/var/else/")])?["nodes"][0]["extraMounts"][0]["hostPath"];
    ensure!(elsewhere == "/var/else/interconn-e2e-volumes", "{elsewhere}");
    Ok(())
}

#[test]
fn another_version_of_kubernetes_is_another_image_of_the_node() -> Result<()> {
    let node = config(&[("E2E_KUBERNETES", "1.33.7")])?["nodes"][0].clone();
    ensure!(node["image"] == "kindest/node:v1.33.7" && node["role"] == "control-plane", "{node}");
    ensure!(node["extraMounts"].is_array(), "{node}");
    Ok(())
}

/// The images `localhost/NAME:e2e` that a file or the files of a folder name.
fn images(path: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    if path.is_dir() {
        return std::fs::read_dir(path)?.try_for_each(|entry| images(&entry?.path(), found));
    }
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let names = text.split("localhost/").skip(1).filter_map(|rest| rest.split_once(":e2e"));
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    found.extend(names.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)));
    Ok(())
}

/// Their pods never pull: an image that is not loaded would leave them waiting.
#[test]
fn every_image_that_the_tests_name_is_loaded_into_kind_and_asked_of_clusters_of_others() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    for place in ["tests/node", "tests/node_chart.rs", "tests/node_main_job.rs", "tests/node_suite.rs", "manifests"] {
        images(&here.join(place), &mut named)?;
    }
    ensure!(named.contains("pause") && named.contains("mesh"), "the images are not found: {named:?}");
    let script = std::fs::read_to_string(here.join("cluster/kind.sh"))?;
    let loaded = script.lines().find_map(|line| line.trim().strip_prefix("for archive in ")).context("no list")?;
    let loaded: BTreeSet<&str> = loaded.trim_end_matches("; do").split(' ').collect();
    let readme = std::fs::read_to_string(here.join("README.md"))?;
    for image in &named {
        ensure!(loaded.contains(image.as_str()), "kind.sh does not load {image}: {loaded:?}");
        ensure!(readme.contains(&format!("`localhost/{image}:e2e`")), "README.md does not ask for {image}");
    }
    Ok(())
}

/// Asks `may_take_over` of a cluster: what `kubectl get` says there of definitions and of MeshNodes; nothing is an error.
fn may_take_over(definitions: Option<&str>, nodes: Option<&str>, consent: &str) -> Result<Option<String>> {
    let script = r#"
        set -euo pipefail
        . e2e/setup.sh
        . e2e/consent.sh
        kubectl() {
          case $2 in
            customresourcedefinitions) [ "$DEFINITIONS" = error ] && return 1; printf '%s' "$DEFINITIONS" ;;
            meshnodes.interconn.dev) [ "$NODES" = error ] && return 1; printf '%s' "$NODES" ;;
            *) exit 70 ;;
          esac
        }
        may_take_over
    "#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    bash.env("DEFINITIONS", definitions.unwrap_or("error")).env("NODES", nodes.unwrap_or("error"));
    let ended = bash.env("E2E_CONSENT", consent).output()?;
    Ok((!ended.status.success()).then(|| String::from_utf8_lossy(&ended.stderr).into_owned()))
}

#[test]
fn a_cluster_with_mesh_nodes_is_taken_over_by_consent_alone() -> Result<()> {
    let ours = "customresourcedefinition.apiextensions.k8s.io/meshnodes.interconn.dev\n";
    let others = "customresourcedefinition.apiextensions.k8s.io/certificates.cert-manager.io\n";
    let two = "bank-a   node   True\nbank-b   node   False\n";
    for (definitions, nodes) in [(Some(""), None), (Some(others), None), (Some(ours), Some(""))] {
        let refused = may_take_over(definitions, nodes, "")?;
        ensure!(refused.is_none(), "{definitions:?} {nodes:?}: {refused:?}");
    }
    let refused = may_take_over(Some(ours), Some(two), "yes")?.context("taken over without the word")?;
    ensure!(refused.contains("2 MeshNodes") && refused.contains("E2E_CONSENT=delete-every-meshnode"), "{refused}");
    ensure!(may_take_over(Some(ours), Some(two), "delete-every-meshnode")?.is_none(), "the word is not enough");
    // Who cannot be asked is not empty.
    for (definitions, nodes) in [(None, Some("")), (Some(ours), None)] {
        ensure!(may_take_over(definitions, nodes, "")?.is_some(), "{definitions:?} {nodes:?}");
    }
    Ok(())
}
