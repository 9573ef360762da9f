//! `mesh route` and `mesh exec`: partners by the command line, and what it says of both directions.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use mesh_pki::CertificateInfo;
use serde_json::{Value, json};

use crate::{
    harness::{A, B, Bank, Node, until},
    services::mesh,
};

const INST_A: &str = "JG0100002800000000";
const INST_B: &str = "JG0100002700000000";

/// What the command printed, which went well.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(super) fn listed(node: &Node) -> Value {
    serde_json::from_str(&said(&mesh(node, &["route", "ls", "-o", "json"]))).unwrap()
}

/// A and B, each with the other's root in a file.
async fn two(files: &tempfile::TempDir) -> (Node, Node, [String; 2]) {
    let (a, b) = (Node::start().await, Node::start().await);
    let mut paths = Vec::new();
    for (node, id, inst) in [(&a, A, INST_A), (&b, B, INST_B)] {
        let root = node.become_node(id).await;
        let named = json!({"node_id": id, "inst_id": inst, "name": id, "address": node.data.to_string()});
        assert_eq!(node.post("/v1/interconn/node/refresh", &[], &named).await.code(), super::OK);
        let path = files.path().join(id);
        std::fs::write(&path, root).unwrap();
        paths.push(path.display().to_string());
    }
    (a, b, paths.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn partners_are_added_woven_switched_and_let_go_by_the_command_line() {
    let files = tempfile::tempdir().unwrap();
    let (a, b, [root_a, root_b]) = two(&files).await;
    let (at_a, at_b) = (a.data.to_string(), b.data.to_string());
    let added = mesh(&a, &["route", "add", B, "--inst", INST_B, "--at", &at_b, "--root", &root_b]);
    assert_eq!(said(&added), format!("{B}: done\n"));
    // What people compare on the telephone.
    let woven = said(&mesh(&a, &["route", "weave", B]));
    let code = woven.trim().strip_prefix(&format!("{B}: done, with the code ")).unwrap().to_owned();
    assert_eq!(said(&mesh(&a, &["route", "weave", B])), woven, "said again it is the same");
    let text = said(&mesh(&b, &["route", "ls"]));
    assert_eq!(listed(&a)[0]["auth_code"], code);
    let print = CertificateInfo::from_pem(&std::fs::read_to_string(&root_a).unwrap()).unwrap().sha256;
    let row = text.lines().find(|line| line.contains(A)).unwrap();
    assert!(row.contains("waiting") && row.ends_with(&format!(" {code}")), "{text}");
    assert!(text.contains(&format!("code {code}, address {at_a}, root sha256 {print}")), "{text}");
    assert_eq!(said(&mesh(&b, &["route", "ack", A])), format!("{A}: done\n"));
    let woven = listed(&a);
    assert_eq!(woven[0]["status"].as_i64().unwrap() & 2, 2, "{woven}");
    assert_eq!(a.push(Some(B), "t", "x").await, super::OK);
    for (verb, code) in [("disable", "E0000000606"), ("enable", super::OK)] {
        said(&mesh(&a, &["route", verb, B]));
        assert_eq!(a.push(Some(B), "t", "x").await, code, "{verb}");
    }
    said(&mesh(&a, &["route", "rm", B]));
    assert_eq!(listed(&a), json!([]));
    assert_eq!(a.push(Some(B), "t", "x").await, "E0000000618");
    let json = mesh(&a, &["route", "add", B, "--inst", INST_B, "--at", &at_b, "--root", &root_b, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said(&json)).unwrap(), json!({"nodeId": B, "done": true}));
    for (arguments, says) in [
        (vec!["route", "add", B, "--inst", INST_B, "--at", "nowhere"], "E0000000619"),
        (vec!["route", "add", B, "--inst", INST_B, "--at", &at_a, "--root", "/no/such/file"], "/no/such/file"),
        (vec!["route", "add", A, "--inst", INST_A, "--at", &at_a, "--root", &root_a], "E0000000400"),
        (vec!["route", "disable", "LX9"], "E0000000618"),
        (vec!["route", "weave", "LX9"], "E0000000618"),
        (vec!["route", "ack", "LX9"], "E0000000618"),
        (vec!["route", "rm", "LX9"], "E0000000618"),
        (vec!["route", "rm", "LX9", "--weave"], "no weave of LX9 waits"),
        (vec!["route", "rm", B, "--weave"], "E0000000618"),
    ] {
        let output = mesh(&a, &arguments);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && complaint.contains(says), "{arguments:?}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_may_call_is_said_and_taken_back_by_the_command_line() {
    let files = tempfile::tempdir().unwrap();
    let (a, b, [root_a, root_b]) = two(&files).await;
    let (at_a, at_b) = (a.data.to_string(), b.data.to_string());
    said(&mesh(&a, &["route", "add", B, "--inst", INST_B, "--at", &at_b, "--root", &root_b]));
    let add = async |more: &[&str]| {
        let all = [&["route", "add", A, "--inst", INST_A, "--at", &at_a, "--root", &root_a][..], more].concat();
        said(&mesh(&b, &all));
        // Nobody is registered there: what passes the exports is not found, what does not is not open.
        let target = [("x-ptp-target-node-id", B)];
        let open = async |path: &str| a.post(path, &target, &json!({})).await.code() == "E0000000404";
        (open("/serving").await, open("/other/x").await)
    };
    assert_eq!(add(&[]).await, (false, false), "a partner that was added by API may call nothing");
    assert_eq!(add(&["--export", "/serving", "--export", "/other"]).await, (true, true));
    assert_eq!(add(&["--name", "our A"]).await, (true, true), "what is not said stays");
    assert_eq!(add(&["--export", "/other"]).await, (false, true));
    assert_eq!(add(&["--no-exports"]).await, (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_is_woven_with_and_let_in_with_what_it_may_call_in_one_command_each() {
    let files = tempfile::tempdir().unwrap();
    let (a, b, [_, root_b]) = two(&files).await;
    let at_b = b.data.to_string();
    said(&mesh(&a, &["route", "weave", B, "--inst", INST_B, "--at", &at_b, "--root", &root_b, "--code", "blue whale"]));
    assert_eq!(listed(&b)[0]["auth_code"], "blue whale");
    said(&mesh(&b, &["route", "ack", A, "--export", "/serving", "--name", "our A"]));
    let target = [("x-ptp-target-node-id", B)];
    let called = async |path: &str| a.post(path, &target, &json!({})).await.code();
    let codes = (called("/serving").await, called("/other").await);
    assert_eq!(codes, ("E0000000404".to_owned(), "E0000000614".to_owned()));
    assert_eq!(listed(&b)[0]["name"], "our A");
    assert_eq!(a.push(Some(B), "t", "x").await, super::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_proves_nothing_is_shown_as_such() {
    let node = Node::start().await;
    node.become_node(A).await;
    let at = ["route", "add", B, "--inst", INST_B, "--at", "127.0.0.1:1"];
    let add = |more: &[&str]| said(&mesh(&node, &[&at[..], more].concat()));
    let shown = async || {
        let status: Value = node.private("/status").await.json();
        let warned = said(&mesh(&node, &["route", "ls"])).contains("warning: client certificate: ");
        (status["routes"][0]["proven"].as_bool().unwrap(), status["routes"][0]["warnings"] != json!([]), warned)
    };
    add(&["--server-name", "mesh.b.example", "--expires", "2030-01-31T00:00:00Z"]);
    assert_eq!(shown().await, (true, false, false));
    add(&["--client-certificate", "optional"]);
    assert_eq!(shown().await, (false, true, true));
    let edge = &listed(&node)[0];
    assert_eq!((&edge["server_name"], &edge["expire_at"]), (&json!("mesh.b.example"), &json!(1_896_048_000_000_i64)));
    let told = mesh(&node, &["diagnose", "route", B, "--idle", "100ms", "-o", "json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    let line = report["lines"].as_array().unwrap().iter().find(|line| line["check"] == "client certificate").unwrap();
    assert_eq!(line["state"], "warning");
    add(&["--client-certificate", "required"]);
    assert_eq!(shown().await, (true, false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_of_each_direction_whether_it_works_and_why_not() {
    let (a, b) = crate::exchange::two().await;
    assert_eq!(a.push(Some(B), "t", "x").await, super::OK);
    // A check that began while B had no route to us yet may end behind the push, and is put right by the next.
    until("B to be reachable", Duration::from_secs(60), async || listed(&a)[0]["reached"][0]["state"] == "reachable")
        .await;
    // Nobody is there who could have called; B asks how we are from time to time.
    const NOBODY: &str = "LX0000010000999";
    let root = Bank::new(NOBODY);
    assert_eq!(a.trust(NOBODY, "127.0.0.1:1".parse().unwrap(), root.root.certificate_pem()).await, super::OK);
    let all = listed(&a);
    let nobody = all.as_array().unwrap().iter().find(|route| route["node_id"] == NOBODY).unwrap();
    assert_eq!(nobody["calledUsAt"], Value::Null, "{all:#}");
    let there = listed(&b);
    assert!(there[0]["calledUsAt"].as_str().is_some_and(|at| at.starts_with("20")), "{there:#}");
    assert!(said(&mesh(&a, &["route", "ls"])).contains("it has not called us"));
    assert!(said(&mesh(&b, &["route", "ls"])).contains("it called us at 20"));
    drop(b);
    assert_eq!(a.push(Some(B), "t", "x").await, "E0000000607");
    until("the reason", Duration::from_secs(60), async || listed(&a)[0]["reached"][0]["state"] == "failing").await;
    let text = said(&mesh(&a, &["route", "ls"]));
    assert!(text.contains("is failing: ") && text.contains("refused"), "{text}");
    // What a diagnosis found stays to be read.
    assert_eq!(mesh(&a, &["diagnose", "route", B, "--idle", "100ms"]).status.code(), Some(1));
    let fault = &listed(&a)[0]["diagnosis"]["faults"][0];
    assert_eq!(fault["check"], "tcp");
    assert!(fault["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{fault}");
    assert!(said(&mesh(&a, &["route", "ls"])).contains("tcp failed at 20"));
    // Of another node's partners this node's admin port says nothing.
    let elsewhere = Node::start().await;
    elsewhere.become_node("LX0000010000260").await;
    let other = mesh(&a, &["route", "ls", "-o", "json", "--address", &elsewhere.data.to_string()]);
    assert_eq!(serde_json::from_str::<Value>(&said(&other)).unwrap(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_method_is_called_by_its_name_here_and_at_a_partner() {
    let (a, _b) = crate::exchange::two().await;
    let own: Value = serde_json::from_str(&said(&mesh(&a, &["exec", "-m", "mesh.net.environ"]))).unwrap();
    assert_eq!(own["node_id"], A);
    let theirs = said(&mesh(&a, &["exec", "-m", "mesh.net.environ", "--target-node", B]));
    assert_eq!(serde_json::from_str::<Value>(&theirs).unwrap()["node_id"], B);
    let edge = said(&mesh(&a, &["exec", "-m", "mesh.net.edge", "-i", &json!({"node_id": B}).to_string()]));
    assert_eq!(serde_json::from_str::<Value>(&edge).unwrap()["node_id"], B);
    let mut piped = Command::new(env!("CARGO_BIN_EXE_mesh"));
    piped.args(["exec", "-m", "mesh.net.edge", "-i", "-"]).env("MESH_ADDRESS", a.data.to_string());
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), json!({"node_id": B}).to_string().as_bytes()).unwrap();
    assert_eq!(said(&piped.wait_with_output().unwrap()), edge);
    assert!(refused(&mesh(&a, &["exec", "-m", "mesh.net.nosuch"])).contains("E0000000404"));
    assert!(refused(&mesh(&a, &["exec", "-m", "mesh.net.edge"])).contains("E0000000400"));
    assert!(refused(&mesh(&a, &["exec", "-m", "mesh.net.edge", "-i", "[]"])).contains("JSON object"));
    assert!(refused(&mesh(&a, &["exec", "-m", "mesh.net.environ", "--target-node", "LX9"])).contains("E0000000618"));
}
