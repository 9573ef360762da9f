//! What ends, and how (PTP section 9, design section 6): a reader before it has read, a push that is sent again, and by their age
//! messages, sessions and tombstones.

use std::time::Duration;

use serde_json::json;

use super::{
    OK,
    stage::Stage,
    ways::{Form, Got, Want},
    wire::{Ask, Heard, Transport, Wire},
};
use crate::{
    backplane::PATIENCE,
    harness::{Raw, until},
};

/// An application that asks on one connection: what it is given is settled when it asks again.
struct Application<'s> {
    stage: &'s Stage,
    wire: Wire,
    session: &'static str,
}

impl<'s> Application<'s> {
    async fn of(stage: &'s Stage, session: &'static str) -> Self {
        Self { stage, wire: stage.wire(Transport::Http1).await, session }
    }

    async fn hears(&mut self, want: Want) -> Heard {
        self.wire.send(self.stage.node.data, Form::Json.request(want, self.session, "t", &[])).await
    }

    async fn code(&mut self, want: Want) -> String {
        Form::Json.read(&self.hears(want).await).code
    }

    /// The next message, and whether it is marked as given out before.
    async fn pops(&mut self, wait: u32) -> Option<(String, bool)> {
        let heard = self.hears(Want::Pop(wait)).await;
        let Got { code, payload } = Form::Json.read(&heard);
        assert_eq!(code, OK, "{}", self.session);
        let text = String::from_utf8(payload?.to_vec()).unwrap();
        Some((text, !heard.header("x-ptp-redelivered").is_empty()))
    }
}

/// A pop that is written by hand.
fn pop(session: &str, topic: &str) -> String {
    format!(
        "GET /v1/interconn/chan/pop?topic={topic}&timeout=60000 HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: {session}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_dies_gives_back_what_it_has_not_read() {
    for store in ["Memory", "Disk"] {
        let stage = Stage::with_transport(&json!({ "store": store })).await;
        a_reader_that_dies_gives_back_what_it_has_not_read_at(&stage).await;
    }
}

pub(super) async fn a_reader_that_dies_gives_back_what_it_has_not_read_at(stage: &Stage) {
    let mut application = Application::of(stage, "dies").await;
    // One that waits gets nothing any more.
    assert_eq!(application.code(Want::Peek).await, OK);
    let mut waiting = Raw::to(&stage.node).await;
    waiting.write(pop("dies", "t")).await;
    until("the pop to wait", PATIENCE, async || stage.waiting("pops").await == 1.0).await;
    waiting.reset();
    until("the pop to be given up", PATIENCE, async || stage.waiting("pops").await == 0.0).await;
    for text in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(application.code(Want::Push(text)).await, OK);
    }
    // One that has read a part of its answer gives the message back to its place.
    let mut reading = Raw::to(&stage.node).await;
    reading.write(pop("dies", "t")).await;
    reading.read_only(20).await;
    reading.reset();
    until("the message to be given back", PATIENCE, async || stage.metric("mesh_transport_leases").await == 0.0).await;
    for (text, is_repeat) in [("one", true), ("two", false), ("three", false)] {
        assert_eq!(application.pops(20_000).await, Some((text.to_owned(), is_repeat)));
    }
    assert_eq!(application.pops(60).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_sent_again_by_its_id_enters_once() {
    for store in ["Memory", "Disk"] {
        let stage = Stage::with_transport(&json!({ "store": store })).await;
        a_push_that_is_sent_again_by_its_id_enters_once_at(&stage).await;
    }
}

pub(super) async fn a_push_that_is_sent_again_by_its_id_enters_once_at(stage: &Stage) {
    let (mut partner, mut application) = (stage.wire(Transport::TlsH2).await, Application::of(stage, "numbered").await);
    let mut push = async |text, id| {
        let form = Form::InvokeProtobuf;
        let ask: Ask = form.request(Want::Push(text), "numbered", "t", &[("x-ptp-message-id", id)]);
        form.read(&partner.send(stage.node.data, ask).await).code
    };
    assert_eq!([push(b"one", "a1-b2-1").await, push(b"one", "a1-b2-1").await], [OK, OK]);
    assert_eq!(application.pops(20_000).await, Some(("one".into(), false)));
    assert_eq!(application.pops(60).await, None, "it is there once");
    // Its id is known when it was read, too.
    assert_eq!([push(b"one", "a1-b2-1").await, push(b"two", "a1-b2-2").await], [OK, OK]);
    assert_eq!(application.pops(20_000).await, Some(("two".into(), false)));
    assert_eq!(application.pops(60).await, None);
}

/// With these ages, which are settings of the queues.
pub(super) fn ages(store: &str) -> serde_json::Value {
    json!({"store": store, "messageTtl": "1s", "tombstone": "1s"})
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_tombstones_have_their_time() {
    for store in ["Memory", "Disk"] {
        messages_and_tombstones_have_their_time_at(&Stage::with_transport(&ages(store)).await).await;
    }
}

pub(super) async fn messages_and_tombstones_have_their_time_at(stage: &Stage) {
    let mut application = Application::of(stage, "aged").await;
    assert_eq!(application.code(Want::Push(b"old")).await, OK);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(application.pops(60).await, None, "it is too old");
    until("it to be counted", PATIENCE, async || stage.metric("mesh_transport_expired_messages_total").await == 1.0)
        .await;
    let release = Form::Json.request(Want::Release, "aged", "", &[]);
    assert_eq!(Form::Json.read(&stage.ask(release).await).code, OK);
    until("the session to be taken again", PATIENCE, async || {
        let code = application.code(Want::Push(b"new")).await;
        assert!([OK, "E0000000608"].contains(&code.as_str()), "{code}");
        code == OK
    })
    .await;
}

/// With this time, which is a setting of the queues.
pub(super) fn idleness(store: &str) -> serde_json::Value {
    json!({"store": store, "idleTimeout": "1s"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_goes_and_may_be_used_again() {
    for store in ["Memory", "Disk"] {
        let stage = Stage::with_transport(&idleness(store)).await;
        a_session_that_nobody_uses_goes_and_may_be_used_again_at(&stage, store).await;
    }
}

pub(super) async fn a_session_that_nobody_uses_goes_and_may_be_used_again_at(stage: &Stage, store: &str) {
    let mut application = Application::of(stage, "idle").await;
    assert_eq!(application.code(Want::Push(b"unread")).await, OK);
    if store == "Memory" {
        let name = "mesh_transport_dropped_by_idleness_total";
        until("the message to be dropped", PATIENCE, async || stage.metric(name).await == 1.0).await;
        assert_eq!(application.pops(60).await, None);
    } else {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(
            application.pops(20_000).await,
            Some(("unread".into(), false)),
            "what is kept stays until it is read"
        );
        assert_eq!(application.pops(60).await, None);
    }
    until("the session to go", PATIENCE, async || stage.metric("mesh_transport_sessions").await == 0.0).await;
    assert_eq!(application.code(Want::Push(b"new")).await, OK);
    assert_eq!(application.pops(20_000).await, Some(("new".into(), false)));
}
