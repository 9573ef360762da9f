//! `mesh route`: the partners of a node, listed, added, removed, woven with.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{block_on, invoke::invoke, print_json};
use crate::{
    args::{Form, RouteAdd, RouteCommand, RouteLs, RouteOf},
    exit::Exit,
};

/// The bits of a route's status and their words (PTP section 11.1).
const BITS: [(i64, &str); 7] = [
    (32, "disabled"),
    (512, "rejected"),
    (128, "waiting"),
    (2, "woven"),
    (16, "offered"),
    (1, "connected"),
    (4, "manual"),
];

/// `mesh route`.
pub(crate) fn route(command: &RouteCommand) -> Result<(), Exit> {
    block_on(async {
        match command {
            RouteCommand::Ls(args) => ls(args).await,
            RouteCommand::Add(args) => add(args).await,
            RouteCommand::Rm(args) => change(args, "mesh.net.disband", &json!({"node_ids": [args.node]})).await,
            RouteCommand::Weave(args) => {
                change(args, "mesh.net.weave", &json!({"route": {"node_id": args.node}})).await
            }
            RouteCommand::Ack(args) => change(args, "mesh.net.ack", &json!({"route": {"node_id": args.node}})).await,
            RouteCommand::Disable(args) => change(args, "mesh.net.disable", &json!({"node_id": args.node})).await,
            RouteCommand::Enable(args) => change(args, "mesh.net.enable", &json!({"node_id": args.node})).await,
        }
    })
}

async fn ls(args: &RouteLs) -> Result<(), Exit> {
    let edges = invoke(&args.node.address, "mesh.net.edges", &json!({}), None).await?;
    if args.node.output.form == Form::Json {
        return print_json(&edges);
    }
    println!("{:<20} {:<20} {:<40} {:<24} CODE", "NODE", "INSTITUTION", "ADDRESS", "STATUS");
    for edge in edges.as_array().into_iter().flatten() {
        let text = |member: &str| edge[member].as_str().unwrap_or_default().escape_debug().to_string();
        println!(
            "{:<20} {:<20} {:<40} {:<24} {}",
            text("node_id"),
            text("inst_id"),
            text("address"),
            words(edge["status"].as_i64().unwrap_or(0)),
            text("auth_code"),
        );
    }
    Ok(())
}

fn words(status: i64) -> String {
    let words: Vec<&str> = BITS.iter().filter(|(bit, _)| status & bit != 0).map(|(_, word)| *word).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

async fn add(args: &RouteAdd) -> Result<(), Exit> {
    let mut route = json!({"node_id": args.node, "inst_id": args.inst, "address": args.at});
    let texts = [("name", &args.name), ("proxy", &args.proxy), ("static_ip", &args.static_ip)];
    for (member, text) in texts.into_iter().filter_map(|(member, text)| text.as_ref().map(|text| (member, text))) {
        route[member] = text.as_str().into();
    }
    for (member, file) in [("guest_root", &args.root), ("guest_crt", &args.cert), ("guest_key", &args.key)] {
        if let Some(file) = file {
            route[member] = read(file)?.into();
        }
    }
    invoke(&args.call.address, "mesh.net.refresh", &json!({ "routes": [route] }), None).await?;
    said(args.call.output.form, &args.node)
}

async fn change(args: &RouteOf, method: &str, arguments: &Value) -> Result<(), Exit> {
    invoke(&args.call.address, method, arguments, None).await?;
    said(args.call.output.form, &args.node)
}

fn said(form: Form, node: &str) -> Result<(), Exit> {
    match form {
        Form::Json => print_json(&json!({"nodeId": node, "done": true})),
        Form::Text => {
            println!("{node}: done");
            Ok(())
        }
    }
}

fn read(file: &Path) -> Result<String, Exit> {
    fs::read_to_string(file).map_err(|e| Exit::local(file.display(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_said_in_words() {
        for (status, said) in [(0, "-"), (1, "connected"), (2 | 32, "disabled,woven"), (128 | 16, "waiting,offered")] {
            assert_eq!(words(status), said);
        }
    }
}
