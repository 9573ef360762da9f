//! Sessions of port 7304 while something dies (docs/backplane.md, "When something dies"): what callers hear, and that they hear it in
//! their time. Nothing that was confirmed is lost, and what comes again says so.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;

use super::{
    PATIENCE,
    cut::Link,
    server::Server,
    sessions::{OK, Stage, UNREACHABLE, call, popped},
};
use crate::harness::{A, Answer, Node, base64, free_port, unbase64, until};

/// A peer did not answer in time: of a push, that nobody knows whether it is kept.
const UNSURE: &str = "E0000000601";
const FULL: &str = "E0000000700";

/// What an answer may be late by on a busy machine.
const LATE: Duration = Duration::from_secs(20);

/// A call that says how long it waits, and is answered in that time.
async fn answered(node: &Node, op: &str, session: &str, milliseconds: u64, text: &str) -> Answer {
    let time = milliseconds.to_string();
    let body = json!({"topic": "t", "payload": base64(text), "timeout": milliseconds});
    let headers = [("x-ptp-timeout", time.as_str())];
    let answer = call(node, op, session, &headers, &body);
    let limit = Duration::from_millis(milliseconds) + LATE;
    timeout(limit, answer)
        .await
        .unwrap_or_else(|_| panic!("{op} of {milliseconds} ms was not answered within {limit:?}"))
}

async fn pushed(node: &Node, session: &str, milliseconds: u64, text: &str) -> String {
    answered(node, "push", session, milliseconds, text).await.code()
}

/// Whether a push is taken that has time for others to lead or to own; else it is said to be unsure, or that nobody is there to take it.
async fn is_taken(node: &Node, session: &str, text: &str) -> bool {
    let answer = answered(node, "push", session, 30_000, text).await;
    assert!([OK, UNSURE, UNREACHABLE].contains(&answer.code().as_str()), "{}", answer.text());
    answer.code() == OK
}

/// A push that is repeated until it is taken; it may stand there more often for it.
async fn pushed_at_last(node: &Node, session: &str, text: &str) {
    until("a push to be taken", PATIENCE, async || is_taken(node, session, text).await).await;
}

/// The text of an answer, and whether it was given out before.
fn given(answer: &Answer) -> Option<(String, bool)> {
    let text = answer.json()["payload"].as_str().map(unbase64)?;
    Some((text, answer.headers.contains_key("x-ptp-redelivered")))
}

/// All that came: each once, or marked as given out before.
fn once_or_marked(all: Vec<(String, bool)>) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (text, is_repeat) in all {
        assert!(known.insert(text.clone()) || is_repeat, "LOST: {text} comes again, and does not say so");
    }
    known
}

/// Has another server lead a stream.
async fn steps_down(url: &str, stream: &str) {
    let client = async_nats::connect(url.split(',').collect::<Vec<_>>()).await.unwrap();
    let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
    until("the leader to step down", PATIENCE, async || {
        let answer = client.request(subject.clone(), "".into()).await;
        answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.payload).contains("\"success\":true"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_leaders_step_down_under_pushes_and_pops_and_all_is_answered_and_nothing_lost() {
    let stage = Stage::of(Server::three().unwrap(), "Disk");
    let url = stage.servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let [a, b, c] = stage.gateways().await;
    pushed_at_last(&a, "s", "first").await;
    let (confirmed, got, is_over) =
        (Mutex::new(vec!["first".to_owned()]), Mutex::new(Vec::new()), AtomicBool::new(false));
    let pushes = async |worker: usize, node: &Node| {
        for n in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let text = format!("{worker}-{n}");
            if is_taken(node, "s", &text).await {
                confirmed.lock().push(text);
            }
        }
    };
    let pops = async |node: &Node| {
        while !is_over.load(Ordering::SeqCst) {
            let answer = answered(node, "pop", "s", 2000, "").await;
            assert!([OK, UNREACHABLE].contains(&answer.code().as_str()), "{}", answer.text());
            got.lock().extend(given(&answer));
        }
    };
    let steps = async {
        for _ in 0..3 {
            for stream in [format!("interconn-v1-{A}-logs"), format!("KV_interconn-v1-{A}-sessions")] {
                steps_down(&url, &stream).await;
                let (before, popped) = (confirmed.lock().len(), got.lock().len());
                until("pushes and pops to go on", PATIENCE, async || {
                    confirmed.lock().len() > before + 5 && got.lock().len() > popped + 5
                })
                .await;
            }
            // A session that nobody has used is claimed meanwhile.
            pushed_at_last(&c, "new", "one").await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    tokio::join!(pushes(0, &a), pushes(1, &b), pops(&b), pops(&c), steps);
    pushed_at_last(&b, "s", "last").await;
    while !got.lock().iter().any(|(text, _)| text == "last") {
        let answer = answered(&c, "pop", "s", 20_000, "").await;
        got.lock().extend(Some(given(&answer).expect("the last is there")));
    }
    let got = once_or_marked(got.into_inner());
    let lost: Vec<String> = confirmed.into_inner().into_iter().filter(|text| !got.contains(text)).collect();
    assert!(lost.is_empty(), "LOST: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_says_so_and_another_one_serves_what_it_confirmed() {
    let stage = Stage::new("Disk");
    let link = Link::to(stage.servers[0].port).await.unwrap();
    let cut_off = stage.gateway_at(&link.url(), &[]).await;
    let [a] = stage.gateways_beside(1).await;
    assert_eq!(pushed(&cut_off, "s", 20_000, "one").await, OK);
    assert_eq!(pushed(&a, "s", 20_000, "two").await, OK);
    assert_eq!(a.metric("mesh_transport_forwarded_calls_total").await, 1.0, "it is the other's");
    link.cut();
    let code = pushed(&cut_off, "s", 2000, "unsure").await;
    assert!([UNSURE, UNREACHABLE].contains(&code.as_str()), "{code}");
    assert_eq!(pushed(&cut_off, "new", 2000, "x").await, UNREACHABLE, "nobody owns it");
    // It listens still, so what is asked elsewhere waits until it was not heard for long enough.
    pushed_at_last(&a, "s", "three").await;
    let mut got = Vec::new();
    while !got.iter().any(|(text, _)| text == "three") {
        got.push(given(&answered(&a, "pop", "s", 20_000, "").await).expect("a message"));
    }
    let got = once_or_marked(got);
    assert!(["one", "two", "three"].iter().all(|text| got.contains(*text)), "LOST: {got:?}");
    link.mend();
    pushed_at_last(&cut_off, "s", "four").await;
    until("the last to be popped", PATIENCE, async || {
        given(&answered(&a, "pop", "s", 20_000, "").await).is_some_and(|(text, _)| text == "four")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_pushes_by_its_code_and_takes_them_again_when_it_was_read() {
    let stage = Stage::new("Disk");
    let url = stage.servers[0].url();
    let owner = stage.gateway_with(&url, &json!({"maxBytes": "4Mi"}), &[]).await;
    let other = stage.gateway_with(&url, &json!({"maxBytes": "4Mi"}), &[]).await;
    assert_eq!(pushed(&owner, "s", 20_000, "0").await, OK);
    let (large, mut taken) = ("x".repeat(256 << 10), 1);
    for node in [&other, &owner] {
        let refused = loop {
            let answer = answered(node, "push", "s", 5000, &format!("{taken} {large}")).await;
            if answer.code() != OK {
                break answer;
            }
            taken += 1;
            assert!(taken < 20, "4 MiB hold more than that");
        };
        assert_eq!(refused.code(), FULL, "{}", refused.text());
        assert!(refused.text().contains("nats.maxBytes") && taken > 4, "{taken}: {}", refused.text());
    }
    for n in 0..taken {
        let text = popped(&other, "s").await;
        assert!(text.starts_with(&n.to_string()), "LOST: {n} is {}", &text[..text.len().min(8)]);
    }
    until("there to be room again", PATIENCE, async || {
        let code = pushed(&other, "s", 5000, &large).await;
        assert!([OK, FULL].contains(&code.as_str()), "{code}");
        code == OK
    })
    .await;
    assert_eq!(popped(&owner, "s").await, large);
}

/// Users of a server, by their only one's password.
fn users(password: &str) -> String {
    format!("authorization {{ users: [{{ user: mesh, password: {password} }}] }}")
}

/// Waits until it is answered that no call should come, for this reason.
async fn is_unready(node: &Node, why: &str) {
    until("it to be said that no call should come", PATIENCE, async || {
        // The port is not there at first.
        if std::net::TcpStream::connect(node.admin).is_err() {
            return false;
        }
        let ready = node.admin("/readyz").await;
        ready.status == 503 && ready.text().contains(why)
    })
    .await;
    assert_eq!(node.admin("/livez").await.status, 200, "nobody kills it for that");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_at_readyz_and_so_are_those_that_are_taken_back() {
    let mut server = Server::start(&users("another")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.creds");
    fs::write(&file, "mesh:right").unwrap();
    let (url, file) = (server.url(), Path::display(&file).to_string());
    let variables = [("MESH_BACKPLANE_NATS_URL", url.as_str()), ("MESH_BACKPLANE_NATS_CREDENTIALS", file.as_str())];
    let mut node = Node::begun(free_port(), &variables, |_, mesh| mesh);
    is_unready(&node, "starting: waits for the backplane: NATS: authorization violation").await;
    // It tries again until they are let in.
    server.reload(&users("right")).unwrap();
    node.ready().await;
    assert_eq!(pushed(&node, "own", 5000, "before").await, OK);
    server.reload(&users("changed")).unwrap();
    is_unready(&node, "the backplane is away for ").await;
    assert_eq!(pushed(&node, "own", 5000, "during").await, OK, "what it owns it serves on from memory");
    assert_eq!(pushed(&node, "new", 2000, "x").await, UNREACHABLE, "nobody owns it");
    assert_eq!(answered(&node, "pop", "new", 2000, "").await.code(), UNREACHABLE);
    server.reload(&users("right")).unwrap();
    node.ready().await;
    pushed_at_last(&node, "new", "after").await;
    for (session, text) in [("own", "before"), ("own", "during"), ("new", "after")] {
        assert_eq!(popped(&node, session).await, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pops_that_wait_elsewhere_are_answered_by_the_next_owner_when_theirs_is_killed() {
    let stage = Stage::new("Disk");
    let [a, b, c] = stage.gateways().await;
    assert_eq!(pushed(&a, "s", 20_000, "before").await, OK);
    assert_eq!(popped(&b, "s").await, "before", "who has it is known from now on");
    until("it to be committed", PATIENCE, async || a.leased().await == 0.0).await;
    let waiting = join_all([&b, &c, &b].map(|node| answered(node, "pop", "s", 60_000, "")));
    let killed = async {
        until("all to wait", PATIENCE, async || a.metric("mesh_transport_waiting_pops").await == 3.0).await;
        a.signal("KILL");
        for (node, text) in [(&b, "one"), (&c, "two"), (&c, "three")] {
            assert_eq!(pushed(node, "s", 30_000, text).await, OK);
        }
    };
    let (answers, ()) = tokio::join!(waiting, killed);
    let got: Vec<_> = answers.iter().filter_map(given).collect();
    let got = once_or_marked(got);
    let all: BTreeSet<String> = ["one", "two", "three"].map(str::to_owned).into();
    assert_eq!(got, all, "LOST, or given twice: {:?}", answers.iter().map(Answer::text).collect::<Vec<_>>());
    assert_eq!(given(&answered(&b, "pop", "s", 1, "").await), None);
}
