//! `mesh route`: the partners of a node, listed, added, removed, woven with.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{admin::Admin, block_on, invoke::invoke, print_json};
use crate::{
    args::{Form, Proof, RouteAdd, RouteCommand, RouteLs, RouteOf, RouteRm, RouteWith, Terms},
    exit::Exit,
    random,
};

/// The bit of a weave that this node has sent.
const OFFERED: i64 = 16;
/// The bits of a route's status and their words (PTP section 11.1).
const BITS: [(i64, &str); 9] = [
    (32, "disabled"),
    (512, "rejected"),
    (128, "waiting"),
    (2, "woven"),
    (OFFERED, "offered"),
    (1, "connected"),
    (4, "manual"),
    (8, "discovered"),
    (256, "virtual"),
];

/// `mesh route`.
pub(crate) fn route(command: &RouteCommand) -> Result<(), Exit> {
    block_on(async {
        match command {
            RouteCommand::Ls(args) => ls(args).await,
            RouteCommand::Add(args) => add(args).await,
            RouteCommand::Rm(args) => rm(args).await,
            RouteCommand::Weave(args) => weave(args).await,
            RouteCommand::Ack(args) => ack(args).await,
            RouteCommand::Disable(args) => change(args, "mesh.net.disable", &json!({"node_id": args.node})).await,
            RouteCommand::Enable(args) => change(args, "mesh.net.enable", &json!({"node_id": args.node})).await,
        }
    })
}

async fn rm(RouteRm { weave, of }: &RouteRm) -> Result<(), Exit> {
    if *weave {
        return change(of, "interconn.net.decline", &json!({"node_id": of.node})).await;
    }
    change(of, "mesh.net.disband", &json!({"node_ids": [of.node]})).await
}

async fn ls(args: &RouteLs) -> Result<(), Exit> {
    let mut edges = invoke(&args.node.address, "mesh.net.edges", &json!({}), None).await?;
    if let Some(routes) = known_at(&args.node.address).await {
        edges.as_array_mut().into_iter().flatten().for_each(|edge| told(edge, &routes));
    }
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
        ways(edge).iter().for_each(|line| println!("  {line}"));
    }
    Ok(())
}

/// What the admin port knows of the routes of the node that is called; nothing where it is another node's, or closed to us.
async fn known_at(address: &str) -> Option<Vec<Value>> {
    let mut status = Admin::of_environment().ok()?.get("/status").await.ok()?;
    let called = invoke(address, "mesh.net.environ", &json!({}), None).await.ok()?;
    let is_same = status["node"]["nodeId"].as_str()?.eq_ignore_ascii_case(called["node_id"].as_str()?);
    let routes = status["routes"].as_array_mut().filter(|_| is_same)?;
    Some(std::mem::take(routes))
}

/// Puts beside an edge which of its addresses are reached, when the partner called, and what a diagnosis found.
fn told(edge: &mut Value, routes: &[Value]) {
    let is_of = |route: &&Value| route["nodeId"].as_str().is_some_and(|id| edge["node_id"] == id);
    let Some(route) = routes.iter().find(is_of) else { return };
    for member in ["reached", "calledUsAt", "diagnosis"] {
        edge[member] = route[member].clone();
    }
}

/// Both directions apart, and each reason.
fn ways(edge: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().escape_debug().to_string();
    lines.extend(edge.get("asked").map(asked));
    for address in edge["reached"].as_array().into_iter().flatten() {
        let reason =
            address["reason"].as_str().map_or_else(String::new, |reason| format!(": {}", reason.escape_debug()));
        lines.push(format!("{} is {}{reason}", text(&address["address"]), text(&address["state"])));
    }
    if let Some(called) = edge.get("calledUsAt") {
        lines.push(
            called.as_str().map_or_else(|| "it has not called us".to_owned(), |at| format!("it called us at {at}")),
        );
    }
    if let Some(mismatch) = edge["mismatch"].as_str() {
        lines.push(format!("not the partner: {}", mismatch.escape_debug()));
    }
    for warning in edge["warnings"].as_array().into_iter().flatten() {
        lines.push(format!("warning: {}", text(warning)));
    }
    for fault in edge["diagnosis"]["faults"].as_array().into_iter().flatten() {
        let (check, at) = (text(&fault["check"]), text(&edge["diagnosis"]["at"]));
        lines.push(format!("{check} failed at {at}: {} -> {}", text(&fault["detail"]), text(&fault["remedy"])));
    }
    lines
}

/// Who asks to be woven, and what an ack would trust.
fn asked(weave: &Value) -> String {
    let text = |member: &str| weave[member].as_str().unwrap_or_default().escape_debug().to_string();
    let at = weave["at"].as_i64().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let at = at.map_or_else(String::new, |at| format!(" since {}", at.strftime("%FT%TZ")));
    let roots: Vec<&str> = weave["sha256"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let root = if roots.is_empty() { "none".to_owned() } else { format!("sha256 {}", roots.join(", ")) };
    format!("asks to be woven{at}: code {}, address {}, root {root}", text("auth_code"), text("address"))
}

fn words(status: i64) -> String {
    let words: Vec<&str> = BITS.iter().filter(|(bit, _)| status & bit != 0).map(|(_, word)| *word).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

async fn add(args: &RouteAdd) -> Result<(), Exit> {
    let mut route = document(&args.node, &args.terms)?;
    route["inst_id"] = args.inst.as_str().into();
    route["address"] = args.at.as_str().into();
    invoke(&args.call.address, "mesh.net.refresh", &json!({ "routes": [route] }), None).await?;
    said(args.call.output.form, &args.node)
}

/// Says the code as well, which people on both sides compare: a node whose resources decide keeps none to be read.
async fn weave(args: &RouteWith) -> Result<(), Exit> {
    let code = match args.code.clone().or(known_code(args).await) {
        Some(code) => code,
        None => random::hex::<4>()?,
    };
    let mut route = with(args)?;
    route["auth_code"] = code.as_str().into();
    invoke(&args.call.address, "mesh.net.weave", &json!({ "route": route }), None).await?;
    match args.call.output.form {
        Form::Json => print_json(&json!({"nodeId": args.node, "done": true, "code": code})),
        Form::Text => {
            println!("{}: done, with the code {}", args.node, code.escape_debug());
            Ok(())
        }
    }
}

/// The code of an earlier weave of ours with the same partner. That of a stranger who asks in its name is the stranger's choice.
async fn known_code(args: &RouteWith) -> Option<String> {
    let edge = invoke(&args.call.address, "mesh.net.edge", &json!({"node_id": args.node}), None).await.ok()?;
    own_code(&edge)
}

fn own_code(edge: &Value) -> Option<String> {
    let is_offered = edge["status"].as_i64().is_some_and(|status| status & OFFERED != 0);
    edge["auth_code"].as_str().filter(|code| is_offered && !code.is_empty()).map(str::to_owned)
}

async fn ack(args: &RouteWith) -> Result<(), Exit> {
    let mut route = with(args)?;
    if let Some(code) = &args.code {
        route["auth_code"] = code.as_str().into();
    }
    invoke(&args.call.address, "mesh.net.ack", &json!({ "route": route }), None).await?;
    said(args.call.output.form, &args.node)
}

/// What is not known of the partner, or shall change, goes with the weave or its answer.
fn with(args: &RouteWith) -> Result<Value, Exit> {
    let mut route = document(&args.node, &args.terms)?;
    for (member, text) in [("inst_id", &args.inst), ("address", &args.at)] {
        if let Some(text) = text {
            route[member] = text.as_str().into();
        }
    }
    Ok(route)
}

/// The partner's route as far as the command line names it.
fn document(node: &str, terms: &Terms) -> Result<Value, Exit> {
    let mut route = json!({ "node_id": node });
    let texts = [
        ("name", &terms.name),
        ("proxy", &terms.proxy),
        ("static_ip", &terms.static_ip),
        ("server_name", &terms.server_name),
    ];
    for (member, text) in texts.into_iter().filter_map(|(member, text)| text.as_ref().map(|text| (member, text))) {
        route[member] = text.as_str().into();
    }
    if terms.no_exports || !terms.exports.is_empty() {
        route["exports"] = json!(terms.exports);
    }
    if let Some(expires) = terms.expires {
        route["expire_at"] = expires.as_millisecond().into();
    }
    if let Some(proof) = terms.client_certificate {
        route["client_certificate"] = match proof {
            Proof::Required => "Required".into(),
            Proof::Optional => "Optional".into(),
        };
    }
    for (member, file) in [("guest_root", &terms.root), ("guest_crt", &terms.cert), ("guest_key", &terms.key)] {
        if let Some(file) = file {
            route[member] = read(file)?.into();
        }
    }
    Ok(route)
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
    fn both_directions_are_said_apart_with_each_reason() {
        let routes = [json!({
            "nodeId": "LX1", "calledUsAt": null,
            "reached": [{"address": "b:1", "state": "failing", "reason": "refused: is it up"}, {"address": "c:1", "state": "reachable"}],
            "diagnosis": {"at": "noon", "faults": [{"check": "tcp", "detail": "refused", "remedy": "start it"}]},
        })];
        let mut edge = json!({"node_id": "LX1", "mismatch": "it says LX7", "warnings": ["name: tag k -> take it out"]});
        told(&mut edge, &routes);
        let said = [
            "b:1 is failing: refused: is it up",
            "c:1 is reachable",
            "it has not called us",
            "not the partner: it says LX7",
            "warning: name: tag k -> take it out",
            "tcp failed at noon: refused -> start it",
        ];
        assert_eq!(ways(&edge), said);
        let mut other = json!({"node_id": "LX2"});
        told(&mut other, &routes);
        assert_eq!(ways(&other), Vec::<String>::new());
    }

    #[test]
    fn the_code_of_a_stranger_who_asks_in_the_partners_name_is_not_taken_for_ours() {
        let edge = |status: i64| own_code(&json!({"status": status, "auth_code": "planted"}));
        assert_eq!((edge(128), edge(2)), (None, None));
        assert_eq!(edge(16 | 128).as_deref(), Some("planted"));
    }

    #[test]
    fn whoever_asks_is_shown_with_what_an_ack_would_trust() {
        let asked = |sha256: &[&str]| {
            let weave = json!({"auth_code": "x\n", "address": "b:1", "sha256": sha256, "at": 1_896_048_000_000_i64});
            ways(&json!({"node_id": "LX1", "asked": weave}))
        };
        let said = "asks to be woven since 2030-01-31T00:00:00Z: code x\\n, address b:1, root ";
        assert_eq!(asked(&["0a", "0b"]), [format!("{said}sha256 0a, 0b")]);
        assert_eq!(asked(&[]), [format!("{said}none")]);
    }

    #[test]
    fn an_ack_says_what_the_partner_may_call() {
        use clap::Parser as _;
        let terms = |line: &str| {
            let all = crate::args::Args::parse_from(line.split(' '));
            let crate::args::Command::Route(route) = all.command else { panic!("another command") };
            match route.command {
                RouteCommand::Ack(args) | RouteCommand::Weave(args) => document(&args.node, &args.terms).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(terms("mesh route ack LX1"), json!({"node_id": "LX1"}));
        let line = "mesh route ack LX1 --export /a --export b --client-certificate optional --name B";
        let said = json!({"node_id": "LX1", "name": "B", "exports": ["/a", "b"], "client_certificate": "Optional"});
        assert_eq!(terms(line), said);
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = files.path().join(name);
            fs::write(&path, format!("the {name}")).unwrap();
            path.display().to_string()
        };
        let line = format!(
            "mesh route ack LX1 --proxy http://p:1 --static-ip 192.0.2.1,192.0.2.2 --root {} --cert {} --key {}",
            file("root"),
            file("cert"),
            file("key")
        );
        let said = json!({"node_id": "LX1", "proxy": "http://p:1", "static_ip": "192.0.2.1,192.0.2.2",
            "guest_root": "the root", "guest_crt": "the cert", "guest_key": "the key"});
        assert_eq!(terms(&line), said);
        assert_eq!(terms("mesh route weave LX1 --inst JG1 --at b:1 --no-exports")["exports"], json!([]));
    }

    #[test]
    fn a_status_is_said_in_words() {
        for (status, said) in [(0, "-"), (1, "connected"), (2 | 32, "disabled,woven"), (128 | 16, "waiting,offered")] {
            assert_eq!(words(status), said);
        }
    }
}
