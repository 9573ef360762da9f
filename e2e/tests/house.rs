//! The rules of the house that a compiler does not check: arrows between crates point down only, and files stay small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What each crate of ours may know of the others. A room knows what it stands on and never its neighbour.
const ARROWS: [(&str, &[&str]); 18] = [
    ("crds", &[]),
    ("proto", &[]),
    ("mesh-pki", &[]),
    ("traces", &[]),
    ("mesh-core", &["crds", "mesh-pki"]),
    ("mesh-network", &["crds", "mesh-core", "mesh-pki", "traces"]),
    ("mesh-transport", &["crds", "mesh-core", "mesh-network", "mesh-pki", "proto"]),
    ("mesh-registry", &["crds", "mesh-core", "mesh-network", "mesh-pki"]),
    ("mesh-websocket", &[]),
    ("mesh-grid", &["crds", "mesh-core", "mesh-network", "traces", "mesh-websocket"]),
    ("mesh-tunnel", &["crds", "mesh-core", "mesh-network", "mesh-pki", "mesh-websocket", "proto", "traces"]),
    ("mesh-directory", &["mesh-core", "mesh-pki"]),
    // It carries bytes, and knows of no room what they mean.
    ("mesh-backplane", &["crds"]),
    (
        "mesh",
        &[
            "crds",
            "mesh-backplane",
            "mesh-core",
            "mesh-directory",
            "mesh-grid",
            "mesh-network",
            "mesh-pki",
            "mesh-registry",
            "mesh-transport",
            "mesh-tunnel",
            "proto",
            "traces",
        ],
    ),
    ("mesh-operator", &["crds", "mesh-pki", "traces"]),
    ("e2e", &["crds"]),
    ("demo", &[]),
    ("fuzz", &[]),
];

/// Past this a file hides two ideas.
const LINES: usize = 500;

fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Crate to the crates of ours that its programs are built from; what only its tests use does not count.
fn graph(metadata: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let name = |v: &Value| v["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let knows = |package: &Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|d| d["kind"] != "dev").map(name).filter(|d| ours.contains(d)).collect()
    };
    Ok(packages.iter().map(|p| (name(p), knows(p))).collect())
}

#[test]
fn every_arrow_between_crates_points_down() -> Result<()> {
    let graph = graph(&metadata()?)?;
    let rules: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    ensure!(graph.keys().map(String::as_str).eq(rules.keys().copied()), "not the crates of the rules: {graph:?}");
    let allowed = |from: &str, to: &String| rules.get(from).is_some_and(|rule| rule.contains(&to.as_str()));
    let wrong: Vec<String> = graph
        .iter()
        .flat_map(|(from, knows)| {
            knows.iter().filter(move |to| !allowed(from, to)).map(move |to| format!("{from} -> {to}"))
        })
        .collect();
    ensure!(wrong.is_empty(), "arrows that the house does not have: {}", wrong.join(", "));
    Ok(())
}

#[test]
fn no_file_hides_two_ideas() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root];
    let (mut read, mut long) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if Path::new(&name).extension().is_some_and(|e| e == "rs") {
                read += 1;
                let lines = std::fs::read_to_string(&path)?.lines().count();
                if lines > LINES {
                    long.push(format!("{} has {lines} lines", path.display()));
                }
            }
        }
    }
    ensure!(read > 20, "only {read} files were found");
    ensure!(long.is_empty(), "more than {LINES} lines: {}", long.join(", "));
    Ok(())
}

/// What a crate needs and its source does not name.
const UNNAMED: [(&str, &str, &str); 2] = [
    ("proto", "tonic-prost", "the code that its build script makes"),
    ("mesh", "opentelemetry-proto", "the collector of the tests of `traces`, which its tests take in by its path"),
];

/// The Rust source below a folder, without that of other crates in it.
fn source_of(folder: &Path, source: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.join("Cargo.toml").exists() {
            source_of(&path, source)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            source.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Each is time to build, and one more to look after.
#[test]
fn every_dependency_that_a_crate_asks_for_is_named_in_its_source() -> Result<()> {
    let metadata = metadata()?;
    let (mut unused, mut count) = (Vec::new(), 0);
    for package in metadata["packages"].as_array().context("no packages")? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, manifest) = (text(&package["name"]), text(&package["manifest_path"]));
        let mut source = String::new();
        source_of(Path::new(&manifest).parent().context("no folder")?, &mut source)?;
        let words: BTreeSet<&str> = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            count += 1;
            let asked = text(&dependency["name"]);
            // As its own manifest names the library, where that is another name.
            let library = if asked == "rustls-webpki" { "webpki".to_owned() } else { asked.replace('-', "_") };
            let known = dependency["rename"].as_str().map_or(library, |renamed| renamed.replace('-', "_"));
            let is_excused = UNNAMED.iter().any(|(of, what, _)| *of == name && *what == asked);
            if !words.contains(known.as_str()) && !is_excused {
                unused.push(format!("{name}: {asked}"));
            }
        }
    }
    ensure!(count > 100, "only {count} dependencies were read");
    ensure!(unused.is_empty(), "nothing uses {unused:?}");
    Ok(())
}
