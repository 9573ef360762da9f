//! What the partner makes of us, and whether it is the one: by `environ`, which it answers to partners alone.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use mesh_core::{Body, Code, NodeId};
use serde_json::Value;

use super::{
    Subject,
    link::{Heard, Link},
    report::Lines,
};
use crate::{
    partners::stats::is_a_nodes,
    question::{ENVIRON, question},
};

/// A node answers these from memory.
const LIMIT: Duration = Duration::from_secs(10);
/// What clocks may differ by: the part of a certificate's life that is backdated for it.
const MOST_SKEW: Duration = Duration::from_secs(300);

/// Whether calls mean something there.
pub(super) async fn of(link: &mut Link, subject: &Subject, lines: &mut Lines) -> bool {
    let stats = match link.stats(LIMIT).await {
        Ok(heard) => heard,
        Err(reason) => {
            no_http(&reason, lines);
            return false;
        }
    };
    if stats.status != StatusCode::OK {
        let by = server(&stats);
        let remedy = "what answers is no node, or a proxy whose backend is away: check where it leads";
        lines.failed("http", format!("HTTP {} to /stats{by}", stats.status.as_u16()), remedy);
        return false;
    }
    if !is_a_nodes(&stats.body) {
        let remedy =
            "another program answers there, with the partner's certificate: check the address, and where a proxy leads";
        lines.failed("http", format!("what answers /stats is no node{}", server(&stats)), remedy);
        return false;
    }
    lines.ok("http", format!("/stats answers{}", server(&stats)));
    clock(&stats, SystemTime::now(), lines);
    let request = match question(&subject.snapshot.node.node_id, &subject.route.node_id, ENVIRON, Body::from("{}")) {
        Ok(request) => request,
        Err(e) => {
            lines.failed("authorisation", e.to_string(), "check the partner's node id");
            return false;
        }
    };
    match link.ask(request, LIMIT).await {
        Ok(heard) => judge(&heard, link.asked, subject, lines),
        Err(reason) => {
            no_http(&reason, lines);
            false
        }
    }
}

/// Nothing that speaks HTTP, or somebody who hangs up: in TLS 1.3 a refusal of our certificate arrives only now.
pub(super) fn no_http(reason: &str, lines: &mut Lines) {
    if reason.contains("alert") || reason.to_ascii_lowercase().contains("certificate") {
        let remedy = "what answers there refuses our certificate in the handshake: have it ask for any certificate (no CA list), or \
                      give it our root";
        return lines.failed("authorisation", reason.to_owned(), remedy);
    }
    lines.failed("http", reason.to_owned(), "TLS is answered and HTTP is not: is a proxy without a backend in between");
}

fn judge(heard: &Heard, asked: bool, subject: &Subject, lines: &mut Lines) -> bool {
    if heard.status == StatusCode::FORBIDDEN {
        let remedy = "something in between refuses, or ends TLS and passes us on without our certificate: have it pass TLS through";
        lines.failed("authorisation", format!("HTTP 403{}", server(heard)), remedy);
        return false;
    }
    let Ok(said) = serde_json::from_slice::<Value>(&heard.body) else {
        let remedy = "what answers is no node of PTP/1.0: check the address, and what a proxy in between does";
        lines.failed("http", format!("HTTP {} and no JSON{}", heard.status.as_u16(), server(heard)), remedy);
        return false;
    };
    let text = |member: &str| said[member].as_str().unwrap_or_default().to_owned();
    match Code::parse(&text("code")) {
        Some(code) if code.is_success() && asked => lines.ok("authorisation", "the partner lets us in"),
        Some(code) if code.is_success() => lines.warn(
            "authorisation",
            "the partner lets us in, and whoever ends TLS there did not ask for our certificate",
            "right where a proxy of ours ends TLS and shows our certificate itself; else nothing proves to the partner that calls \
             are ours: have TLS passed through, and clientCertificate: Required in its route to us",
        ),
        Some(code) => {
            lines.failed("authorisation", format!("{code} {}", text("message")), remedy_of(code, subject));
            return false;
        }
        None => {
            lines.failed("http", "the answer has no code", "what answers is no node of PTP/1.0: check the address");
            return false;
        }
    }
    let is = said["content"]["node_id"].as_str().unwrap_or_default();
    if NodeId::new(is) == subject.route.node_id {
        lines.ok("identity", format!("it says that it is {is}, and knows us"));
        return true;
    }
    let remedy = "another node of that partner answers there: give its own address, or route to that node id";
    lines.failed("identity", format!("it says that it is {is}"), remedy);
    false
}

fn remedy_of(code: Code, subject: &Subject) -> String {
    let root = subject.snapshot.node.roots.roots().next().map_or_else(String::new, |root| root.sha256.clone());
    match code {
        Code::UNAUTHORISED => format!(
            "the partner does not take our certificate for ours: give it our root (sha256 {root}) for node {}; if it has it, \
             something in between ends TLS, or its clock is wrong",
            subject.snapshot.node.node_id
        ),
        Code::ROUTE_DISABLED => "the partner has disabled its route to us: ask it to enable it".to_owned(),
        Code::ROUTE_EXPIRED => "the partner's route to us has expired: ask it to extend it".to_owned(),
        Code::NOT_FOUND => "the partner does not know the call, so it may be of another kind: try a push".to_owned(),
        _ => "ask the partner what its log says".to_owned(),
    }
}

/// The partner's clock, as its answer tells it. One that tells none is not judged.
fn clock(heard: &Heard, now: SystemTime, lines: &mut Lines) {
    let told = heard.headers.get(header::DATE).and_then(|date| date.to_str().ok()).map(httpdate::parse_http_date);
    let Some(Ok(theirs)) = told else {
        return lines.ok("clock", "the certificates are in force; the answer tells no time");
    };
    let (skew, word) = match theirs.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if skew <= MOST_SKEW {
        return lines.ok("clock", format!("{} s apart", skew.as_secs()));
    }
    let remedy = "set the clocks (NTP): certificates and routes hold by them";
    lines.failed("clock", format!("the partner's clock is {} s {word} ours", skew.as_secs()), remedy);
}

/// Who says that it answered, if it does.
pub(super) fn server(heard: &Heard) -> String {
    let named = [header::SERVER, header::VIA]
        .into_iter()
        .find_map(|name| heard.headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned));
    named.map_or_else(String::new, |named| format!(" (by {named})"))
}
