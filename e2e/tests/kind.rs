//! The configuration that kind gets, held against what the tests of the node tier ask of a cluster. kind itself needs Docker.

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
