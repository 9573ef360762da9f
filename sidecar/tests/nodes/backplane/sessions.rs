//! Sessions of port 7304 that several gateways share: whichever of them is asked, a session's messages are the same.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use futures::future::join_all;
use mesh_pki::{Algorithm, Identity, Root};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{PATIENCE, server::Server};
use crate::harness::{A, Answer, Node, Raw, base64, post, try_exchange, unbase64, until};

pub(super) const OK: &str = "E0000000000";
pub(super) const RELEASED: &str = "E0000000608";
pub(super) const UNREACHABLE: &str = "E0000000607";

/// Servers of NATS, and what all gateways of one node have alike.
pub(super) struct Stage {
    pub(super) servers: Vec<Server>,
    folder: tempfile::TempDir,
    store: &'static str,
}

impl Stage {
    pub(super) fn new(store: &'static str) -> Self {
        Self::of(vec![Server::start("").unwrap()], store)
    }

    pub(super) fn of(servers: Vec<Server>, store: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { node_id: A.into(), name: "bank".into() };
        let root =
            Root::generate(&identity, Algorithm::EcdsaP256, Duration::from_secs(86_400), SystemTime::now()).unwrap();
        fs::write(folder.path().join("root.crt"), root.certificate_pem()).unwrap();
        fs::write(folder.path().join("root.key"), root.key().expose()).unwrap();
        Self { servers, folder, store }
    }

    fn path(&self, name: &str) -> String {
        Path::join(self.folder.path(), name).display().to_string()
    }

    pub(super) async fn gateway(&self) -> Node {
        let urls: Vec<String> = self.servers.iter().map(Server::url).collect();
        self.gateway_at(&urls.join(","), &[]).await
    }

    /// One that reaches the servers at these addresses, with more variables.
    pub(super) async fn gateway_at(&self, urls: &str, variables: &[(&str, &str)]) -> Node {
        self.gateway_with(urls, &json!({}), variables).await
    }

    /// The same with more settings of NATS.
    pub(super) async fn gateway_with(&self, urls: &str, nats: &Value, variables: &[(&str, &str)]) -> Node {
        let mut file = json!({
            "nodeId": A, "instId": "JG0100002800000000",
            "certificateFiles": {"root": self.path("root.crt"), "rootKey": self.path("root.key")},
            "transport": {"store": self.store},
            "backplane": {"nats": {"url": urls, "replicas": self.servers.len()}},
        });
        let settings = file["backplane"]["nats"].as_object_mut().unwrap();
        settings.extend(nats.as_object().unwrap().clone());
        Node::with_own_file(&file.to_string(), variables).await
    }

    /// Gateways that see each other.
    pub(super) async fn gateways<const N: usize>(&self) -> [Node; N] {
        self.gateways_beside(0).await
    }

    /// The same beside so many that are there already.
    pub(super) async fn gateways_beside<const N: usize>(&self, there: usize) -> [Node; N] {
        let mut all = Vec::new();
        for _ in 0..N {
            all.push(self.gateway().await);
        }
        for node in &all {
            let others = (there + N - 1) as f64;
            until("the others to be seen", PATIENCE, async || {
                node.metric("mesh_backplane_other_gateways").await == others
            })
            .await;
        }
        all.try_into().unwrap_or_else(|_| panic!("as many as were asked for"))
    }
}

pub(super) async fn call(node: &Node, op: &str, session: &str, more: &[(&str, &str)], body: &Value) -> Answer {
    let mut headers = vec![("x-ptp-session-id", session)];
    headers.extend(more);
    node.post(&format!("/v1/interconn/chan/{op}"), &headers, body).await
}

pub(super) async fn push(node: &Node, session: &str, text: &str) -> String {
    let body = json!({"topic": "t", "payload": base64(text)});
    call(node, "push", session, &[("x-ptp-timeout", "20000")], &body).await.code()
}

/// The text of what is popped, and whether it was given out before; `None`: nothing came in that time.
pub(super) async fn pop(node: &Node, session: &str, milliseconds: u64) -> Option<(String, bool)> {
    let answer = call(node, "pop", session, &[], &json!({"topic": "t", "timeout": milliseconds})).await;
    assert_eq!(answer.code(), OK, "{}", answer.text());
    let text = answer.json()["payload"].as_str().map(unbase64)?;
    Some((text, answer.headers.contains_key("x-ptp-redelivered")))
}

pub(super) async fn popped(node: &Node, session: &str) -> String {
    pop(node, session, 20_000).await.expect("a message").0
}

/// What is pushed when all that was popped is to be committed: it stands in the session's log behind that.
const BARRIER: &str = "barrier";

/// Waits until it is known of all that was popped whether it was read.
async fn no_leases(all: &[&Node]) {
    for node in all {
        until("all leases to be settled", PATIENCE, async || node.leased().await == 0.0).await;
    }
}

/// Waits until all that was popped is committed, also at the servers.
async fn settled(all: &[&Node], sessions: &[&str]) {
    no_leases(all).await;
    for session in sessions {
        assert_eq!(push(all[0], session, BARRIER).await, OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_gateway_is_asked_a_session_is_the_same() {
    let stage = Stage::new("Memory");
    let [a, b, c] = stage.gateways().await;
    // In order, pushed here and there, popped here and there.
    for (n, node) in [&a, &b, &c, &a, &b, &c].into_iter().enumerate() {
        assert_eq!(push(node, "s1", &n.to_string()).await, OK);
    }
    for (n, node) in [&c, &c, &b, &b, &a, &a].into_iter().enumerate() {
        assert_eq!(pop(node, "s1", 20_000).await, Some((n.to_string(), false)));
    }
    until("all to be committed at the owner", PATIENCE, async || a.metric("mesh_transport_messages").await == 0.0)
        .await;
    // A waiter at one is woken by a push at another, and neither has the session.
    assert_eq!(push(&a, "s2", "first").await, OK);
    assert_eq!(popped(&a, "s2").await, "first");
    let (waits, pushed) = tokio::join!(popped(&b, "s2"), async {
        until("the pop to wait", PATIENCE, async || a.metric("mesh_transport_waiting_pops").await == 1.0).await;
        push(&c, "s2", "second").await
    });
    assert_eq!((waits.as_str(), pushed.as_str()), ("second", OK));
    // A look, and what is large.
    let large = "x".repeat(3 << 20);
    assert_eq!(push(&b, "s2", &large).await, OK);
    let seen = call(&c, "peek", "s2", &[], &json!({"topic": "t"})).await;
    assert_eq!(seen.json()["payload"].as_str().map(str::len), Some(base64(&large).len()));
    assert_eq!(popped(&c, "s2").await, large);
    // Released at one, refused at all.
    assert_eq!(push(&a, "s2", "unread").await, OK);
    let released = call(&b, "release", "s2", &[], &json!({})).await;
    assert_eq!(released.code(), OK, "{}", released.text());
    for node in [&a, &b, &c] {
        assert_eq!(push(node, "s2", "late").await, RELEASED);
        assert_eq!(call(node, "release", "s2", &[], &json!({})).await.code(), OK, "it is released already");
    }
    assert_eq!(a.metric("mesh_transport_messages").await, 0.0);
    assert!(b.metric("mesh_transport_forwarded_calls_total").await > 0.0);
    assert_eq!(a.metric("mesh_transport_forwarded_calls_total").await, 0.0, "what is its own stays here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_outlives_its_gateway_and_what_is_committed_does_not_come_again() {
    let stage = Stage::new("Disk");
    let [a, b, c] = stage.gateways().await;
    let id = [("x-ptp-timeout", "20000")];
    for text in ["read", "one", "two", "three"] {
        let body = json!({"topic": "t", "payload": base64(text)});
        assert_eq!(call(&a, "push", "s", &id, &body).await.code(), OK);
    }
    assert_eq!(popped(&b, "s").await, "read");
    settled(&[&a, &b, &c], &["s"]).await;
    a.signal("KILL");
    let since = std::time::Instant::now();
    assert_eq!(pop(&b, "s", 60_000).await, Some(("one".into(), true)), "it may have been given out");
    println!("another gateway has it after {:?}", since.elapsed());
    assert_eq!((popped(&c, "s").await.as_str(), popped(&b, "s").await.as_str()), ("two", "three"));
    assert_eq!(pop(&c, "s", 1).await, Some((BARRIER.into(), true)));
    assert_eq!(pop(&c, "s", 1).await, None);
}

/// A call of a gateway that may be killed meanwhile; `None`: it did not answer.
async fn tried(node: &Node, op: &str, session: &str, body: &Value) -> Option<Answer> {
    let stream = tokio::net::TcpStream::connect(node.data).await.ok()?;
    let path = format!("/v1/interconn/chan/{op}");
    let headers = [("x-ptp-session-id", session), ("x-ptp-timeout", "20000")];
    try_exchange(stream, node.data, post(&path, &headers, body.to_string())).await.ok()
}

/// Pops all that is there, at whichever gateway, up to what is pushed last; whether each was given out before.
async fn drain(all: &[Node], session: &str) -> Vec<(String, bool)> {
    let (mut got, any) = (Vec::new(), || &all[rand::random_range(0..all.len())]);
    let last = format!("{BARRIER} at the end");
    assert_eq!(push(any(), session, &last).await, OK);
    loop {
        let one = pop(any(), session, 20_000).await.expect("a message");
        if one.0 == last {
            return got;
        }
        if one.0 != BARRIER {
            got.push(one);
        }
    }
}

/// How many rounds of kills there are: `ROUNDS`, or what a run of all tests has time for.
fn rounds() -> usize {
    std::env::var("ROUNDS").map_or(4, |rounds| rounds.parse().expect("ROUNDS is a number"))
}

/// Messages of a round.
const PUSHES: usize = 40;
const SESSIONS: [&str; 2] = ["s0", "s1"];

/// What of a round was confirmed is noted as it is.
async fn pushes(all: &[Node], round: usize, confirmed: &Mutex<Vec<String>>) {
    let pushes = (0..PUSHES).map(|n| async move {
        let text = format!("{round}-{n}");
        let body = json!({"topic": "t", "payload": base64(&text)});
        if let Some(answer) = tried(&all[n % all.len()], "push", SESSIONS[n % 2], &body).await
            && answer.code() == OK
        {
            confirmed.lock().push(text);
        }
    });
    join_all(pushes).await;
}

/// As many pops as there were pushes; what they bring is noted as it comes, and whether it was given out before.
async fn pops(all: &[Node], got: &Mutex<Vec<(String, bool)>>) {
    let pops = (0..PUSHES).map(|n| async move {
        // Whoever pushed was asked at another one.
        let body = json!({"topic": "t"});
        if let Some(answer) = tried(&all[(n + 1) % all.len()], "pop", SESSIONS[n % 2], &body).await
            && let Some(text) = answer.json()["payload"].as_str().map(unbase64)
            && text != BARRIER
        {
            got.lock().push((text, answer.headers.contains_key("x-ptp-redelivered")));
        }
    });
    join_all(pops).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_kills_of_gateways_and_servers_lose_nothing_that_was_confirmed_and_give_nothing_twice() {
    let mut stage = Stage::of(Server::three().unwrap(), "Disk");
    let mut all: [Node; 3] = stage.gateways().await;
    let mut committed = BTreeSet::new();
    for round in 0..rounds() {
        let victim = rand::random_range(0..6_usize);
        let (confirmed, got) = (Mutex::<Vec<String>>::default(), Mutex::<Vec<(String, bool)>>::default());
        let of_servers = victim.checked_sub(all.len());
        // In the midst of pushes, or of pops and what commits them.
        let is_of_pops = round % 2 == 1;
        let through = || if is_of_pops { got.lock().len() } else { confirmed.lock().len() };
        println!("round {round}: {}", if of_servers.is_some() { "a server" } else { "a gateway" });
        let kill = async {
            until("some to be through", PATIENCE, async || through() > PUSHES / 4).await;
            match of_servers {
                Some(server) => stage.servers[server].kill().unwrap(),
                None => all[victim].signal("KILL"),
            }
        };
        if is_of_pops {
            pushes(&all, round, &confirmed).await;
            tokio::join!(pops(&all, &got), kill);
        } else {
            tokio::join!(pushes(&all, round, &confirmed), kill);
        }
        match of_servers {
            Some(server) => stage.servers[server].start_again().unwrap(),
            None => all[victim].start_again().await,
        }
        let mut got = got.into_inner();
        // What was on its way to whoever died comes back to its place, or is committed.
        no_leases(&all.each_ref()).await;
        for session in SESSIONS {
            got.extend(drain(&all, session).await);
        }
        let mut new = BTreeSet::new();
        for (text, is_repeat) in got {
            let is_first = new.insert(text.clone());
            assert!(is_first || is_of_pops && is_repeat, "LOST: {text} of round {round} came twice");
        }
        for text in &*confirmed.lock() {
            assert!(new.contains(text), "LOST: {text} of round {round}");
        }
        let again: Vec<_> = new.intersection(&committed).collect();
        assert!(again.is_empty(), "LOST: these were committed, and came again: {again:?}");
        settled(&all.each_ref(), &SESSIONS).await;
        committed.extend(new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_hands_sessions_on_also_those_of_memory() {
    let stage = Stage::new("Memory");
    let [mut a, b] = stage.gateways().await;
    for text in ["one", "two"] {
        assert_eq!(push(&a, "s", text).await, OK);
    }
    a.signal("TERM");
    assert!(a.ended(PATIENCE).await.success());
    assert_eq!((popped(&b, "s").await.as_str(), popped(&b, "s").await.as_str()), ("one", "two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_in_time_while_the_servers_are_away() {
    let mut stage = Stage::new("Disk");
    let [a, b] = stage.gateways().await;
    assert_eq!(push(&a, "s", "first").await, OK);
    assert_eq!(popped(&b, "s").await, "first", "who has it is known from now on");
    assert_eq!(push(&a, "s", "before").await, OK);
    stage.servers[0].kill().unwrap();
    let body = json!({"topic": "t", "payload": base64("during")});
    let code = call(&a, "push", "s", &[("x-ptp-timeout", "1000")], &body).await.code();
    assert!(["E0000000601", UNREACHABLE].contains(&code.as_str()), "{code}");
    let code = call(&b, "push", "new", &[("x-ptp-timeout", "1000")], &body).await.code();
    assert_eq!(code, UNREACHABLE, "nobody can own it now");
    // What is here is given out, as nobody else has it.
    assert_eq!(popped(&b, "s").await, "before");
    stage.servers[0].start_again().unwrap();
    assert_eq!(push(&b, "new", "after").await, OK);
    assert_eq!(popped(&a, "new").await, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_on_at_one_connection_while_the_servers_are_away_is_answered_in_time() {
    /// Of a test on a busy machine; what is promised is two seconds.
    const IN_TIME: Duration = Duration::from_secs(30);
    let mut stage = Stage::new("Disk");
    let [a] = stage.gateways().await;
    for text in ["one", "two"] {
        assert_eq!(push(&a, "s", text).await, OK);
    }
    let unread = json!({"topic": "u", "payload": base64("unread")});
    assert_eq!(call(&a, "push", "s", &[("x-ptp-timeout", "20000")], &unread).await.code(), OK);
    let mut client = Raw::to(&a).await;
    stage.servers[0].kill().unwrap();
    let mut asks = async |op: &str, topic: &str| {
        let body = json!({"topic": topic, "timeout": 1}).to_string();
        let head = format!("POST /v1/interconn/chan/{op} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-ptp-session-id: s\r\n");
        let more = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert!(client.write(head + &more).await);
        tokio::time::timeout(IN_TIME, client.answer()).await.expect("an answer in time").expect("an answer")
    };
    // That the one before was read cannot be written now.
    for text in ["one", "two"] {
        let popped = asks("pop", "t").await;
        assert!(popped.text().contains(&base64(text)), "{}", popped.text());
    }
    let released = asks("release", "u").await;
    assert!([OK, UNREACHABLE].contains(&released.code().unwrap().as_str()), "{}", released.text());
    stage.servers[0].start_again().unwrap();
    // It was not forgotten.
    let [b] = stage.gateways_beside(1).await;
    assert_eq!(push(&b, "s", BARRIER).await, OK);
    a.signal("KILL");
    assert_eq!(pop(&b, "s", 60_000).await, Some((BARRIER.into(), true)));
}
