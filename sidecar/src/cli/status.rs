//! `mesh status`: what the node on this machine is doing, asked at its admin port.

use serde_json::Value;

use super::{admin::Admin, block_on, print_json};
use crate::{
    args::{Form, Status},
    exit::Exit,
};

/// `mesh status`.
pub(crate) fn status(args: &Status) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(async {
        let shown = admin.get("/status").await?;
        match args.output.form {
            Form::Json => print_json(&shown),
            Form::Text => {
                print(&shown);
                Ok(())
            }
        }
    })
}

/// An edge node that is connected.
fn line(peer: &Value) -> String {
    let text = |key: &str| peer[key].as_str().unwrap_or("-");
    let round_trip = peer["roundTripMillis"].as_f64().map(|millis| format!(", round trip {millis:.1} ms"));
    let dropped =
        peer["dropped"].as_u64().filter(|dropped| *dropped > 0).map(|dropped| format!(", {dropped} packets dropped"));
    let (round_trip, dropped) = (round_trip.unwrap_or_default(), dropped.unwrap_or_default());
    format!("{} at {} from {}{round_trip}{dropped}", text("id"), text("address"), text("from"))
}

fn print(shown: &Value) {
    let text = |pointer: &str| match shown.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    println!("node         {} ({}), {}", text("/node/nodeId"), text("/node/name"), text("/state"));
    if text("/state") == "serving" && !text("/unready").is_empty() {
        println!("not ready    {}", text("/unready"));
    }
    println!("institution  {}", text("/node/instId"));
    if text("/role") == "sidecar" {
        let reason = text("/gateway/reached/0/reason");
        let state = if reason.is_empty() { text("/gateway/reached/0/state") } else { reason };
        println!("role         sidecar, with the gateway at {}: {state}", text("/gateway/address"));
    } else {
        println!("role         gateway");
    }
    println!("certificate  until {}", text("/node/leafNotAfter"));
    println!(
        "config       {} generation {} ({})",
        text("/config/origin"),
        text("/config/generation"),
        text("/config/hash")
    );
    if !text("/config/problem").is_empty() {
        println!("problem      {}", text("/config/problem"));
    }
    println!("queues       {} bytes in {} sessions", text("/queues/bytes"), text("/queues/sessions"));
    if let Some(line) = grid(&shown["grid"]) {
        println!("grid         {line}");
    }
    if let Some(line) = backplane(&shown["backplane"]) {
        println!("backplane    {line}");
    }
    if !shown["directory"].is_null() {
        let [systems, classes, data, entries, origin] =
            ["centralSystems", "adapterClasses", "dataSystems", "entries", "origin"]
                .map(|level| text(&format!("/directory/{level}")));
        println!(
            "directory    {systems} central systems, {classes} adapter classes, {data} data systems; {entries} entries in {origin}"
        );
    }
    if let Some(damage) = shown["directory"]["damage"].as_str() {
        println!("             takes no writes: {damage}");
    }
    for line in witnesses(&shown["directory"]["witnesses"]) {
        println!("{line}");
    }
    for system in shown["directory"]["unreached"].as_array().into_iter().flatten() {
        let [csid, problem] = ["csid", "problem"].map(|key| system[key].as_str().unwrap_or_default());
        println!("not reached  {csid}: {problem}");
    }
    if let Some(line) = replica(&shown["directoryReplica"]) {
        println!("replica      {line}");
    }
    if !shown["tunnel"].is_null() {
        let [connected, nodes] = ["connected", "nodes"].map(|level| text(&format!("/tunnel/{level}")));
        println!(
            "tunnel       {connected} of {nodes} nodes connected, at {} in {}",
            text("/tunnel/advertise"),
            text("/tunnel/subnet")
        );
        shown["tunnel"]["peers"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|peer| println!("peer         {}", line(peer)));
    }
    for route in shown.pointer("/routes").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
        println!("route        {} to {} ({}): {}", text("name"), text("nodeId"), text("addresses"), text("standing"));
    }
    for instance in shown.pointer("/instances").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| instance.get(key).and_then(Value::as_str).unwrap_or_default();
        println!("service      {}: {}", text("address"), text("state"));
    }
}

/// The grid in a line; none where it is off.
fn grid(grid: &Value) -> Option<String> {
    if grid.is_null() {
        return None;
    }
    if grid["at"] == "gateway" {
        return Some("at the gateway; calls of backends are passed on".into());
    }
    Some(format!(
        "{} clients, {} backends, {} messages in {} topics, {} of them not acknowledged",
        grid["clients"], grid["backends"], grid["messages"], grid["topics"], grid["unacked"]
    ))
}

/// How it stands with the other gateways, in a line; none where there is no backplane.
fn backplane(shown: &Value) -> Option<String> {
    let state = shown["state"].as_str()?.to_lowercase();
    let number = shown["number"].as_u64().map_or_else(String::new, |number| format!(" as gateway {number}"));
    let problem = shown["problem"].as_str().map_or_else(String::new, |problem| format!("; {problem}"));
    Some(format!("{state}{number}, {} others are there{problem}", shown["others"]))
}

/// The copy of the directory in a sidecar.
fn replica(shown: &Value) -> Option<String> {
    if let Some(ended) = shown["ended"].as_str() {
        return Some(format!("ended, answers nothing: {ended}"));
    }
    let problems = ["full", "problem"].into_iter().filter_map(|key| shown[key].as_str());
    let problem: String = problems.map(|problem| format!("; {problem}")).collect();
    let (here, of) = (shown["entries"].as_u64().unwrap_or_default(), shown["of"].as_u64().unwrap_or_default());
    let state = match shown["ageMs"].as_u64() {
        Some(age) => format!("{here} entries of the directory, {} s old", age.div_ceil(1000)),
        None => format!("{here} of {of} entries of the directory; answers nothing yet"),
    };
    shown.is_object().then(|| format!("{state}{problem}"))
}

/// Who signs the directory's log, and who does not.
fn witnesses(shown: &Value) -> Vec<String> {
    let members = shown["members"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(quorum) = shown["quorum"].as_u64() else { return Vec::new() };
    let covered = shown["covered"].as_u64().map_or_else(|| "nothing yet".to_owned(), |size| format!("{size} entries"));
    let mut lines = vec![format!("witnesses    {quorum} of {} are enough; they signed {covered}", members.len())];
    for member in members {
        let name = member["name"].as_str().unwrap_or_default();
        let size = member["size"].as_u64().map_or_else(|| "nothing".to_owned(), |size| format!("{size} entries"));
        let problem = member["problem"].as_str().map_or_else(String::new, |problem| format!("; {problem}"));
        lines.push(format!("witness      {name}: {size}{problem}"));
    }
    lines
}
