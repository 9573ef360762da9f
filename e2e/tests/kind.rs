//! The configuration that kind gets, held against what the tests of the node tier ask of a cluster. kind itself needs Docker.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::institution::{A, B};
use serde_json::Value;

/// What `kind.sh config` prints, as kind reads it.
fn config(version: Option<&str>) -> Result<Value> {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/kind.sh"));
    command.arg("config").env_remove("E2E_KUBERNETES");
    let output = command.envs(version.map(|version| ("E2E_KUBERNETES", version))).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_yaml::from_slice(&output.stdout).context("no YAML")
}

#[test]
fn the_cluster_of_kind_is_what_the_tests_ask_for() -> Result<()> {
    let config = config(None)?;
    ensure!(config["kind"] == "Cluster" && config["apiVersion"] == "kind.x-k8s.io/v1alpha4", "{config}");
    // Addresses of Services that manifests name.
    ensure!(config["networking"]["serviceSubnet"] == "10.96.0.0/16", "{config}");
    ensure!([A, B].iter().all(|bank| bank.address.starts_with("10.96.")), "outside of the Services' range");
    // One node: programs in pods are killed from this machine, and volumes are made on it.
    let nodes = config["nodes"].as_array().context("no nodes")?;
    ensure!(nodes.len() == 1 && nodes[0]["role"] == "control-plane" && nodes[0]["image"].is_null(), "{nodes:?}");
    let volumes = std::env::temp_dir().join("interconn-e2e-volumes").display().to_string();
    let mount = &nodes[0]["extraMounts"][0];
    if volumes.starts_with("/tmp") {
        ensure!(mount["hostPath"] == volumes && mount["containerPath"] == volumes, "{mount}");
    }
    Ok(())
}

#[test]
fn another_version_of_kubernetes_is_another_image_of_the_node() -> Result<()> {
    let node = config(Some("1.33.7"))?["nodes"][0].clone();
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
