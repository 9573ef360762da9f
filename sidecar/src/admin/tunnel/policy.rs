//! Who may reach whom: the rules in force with how many nodes each names, and whether one node may reach another.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mesh_tunnel::{
    control::Control,
    hub::{Verdict, judge, names},
    ledger::NodeView,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, named, off, refused};

/// Two nodes, and a port of the second.
#[derive(Debug, Deserialize)]
pub(crate) struct Pair {
    from: Option<String>,
    to: Option<String>,
    port: Option<u16>,
}

/// The policy, or what it says of two nodes.
pub(crate) async fn policy(State(admin): State<Arc<Admin>>, Query(pair): Query<Pair>) -> Response {
    let Some(control) = admin.rooms.tunnel() else { return off() };
    let Some(tunnel) = admin.keeper.live().snapshot().tunnel.clone() else { return off() };
    match (&pair.from, &pair.to) {
        (None, None) => Json(shown(&tunnel, &control)).into_response(),
        (Some(from), Some(to)) => match (node(&control, from), node(&control, to)) {
            (Some(from), Some(to)) => Json(judged(&tunnel, (&from, &to), pair.port)).into_response(),
            _ => refused(StatusCode::NOT_FOUND, "no node is called that: `mesh tunnel ls` lists them"),
        },
        _ => refused(StatusCode::BAD_REQUEST, "it takes two nodes: from and to"),
    }
}

fn node(control: &Control, id: &str) -> Option<NodeView> {
    control.ledger().node(named(id)?)
}

fn shown(tunnel: &crds::Tunnel, control: &Control) -> Value {
    let nodes = control.ledger().nodes();
    let count = |labels| nodes.iter().filter(|node| names(labels, &node.labels)).count();
    let rules: Vec<Value> = tunnel
        .policy
        .iter()
        .map(|rule| {
            let (senders, receivers) = (count(&rule.from), count(&rule.to));
            json!({"from": rule.from, "to": rule.to, "ports": rule.ports, "senders": senders, "receivers": receivers})
        })
        .collect();
    json!({"interconnection": tunnel.interconnection, "rules": rules})
}

fn judged(tunnel: &crds::Tunnel, (from, to): (&NodeView, &NodeView), port: Option<u16>) -> Value {
    let (allowed, why, rule) = match judge(tunnel, &from.labels, &to.labels, port) {
        Verdict::Open => (true, "there is no rule, and all is allowed", None),
        Verdict::Allowed(rule) => (true, "a rule allows it", Some(rule + 1)),
        Verdict::Denied => (false, "no rule allows it", None),
        Verdict::Isolated => (false, "interconnection is off: nodes reach the server only", None),
    };
    json!({"from": from.peer.to_string(), "to": to.peer.to_string(), "port": port, "allowed": allowed, "why": why, "rule": rule})
}
