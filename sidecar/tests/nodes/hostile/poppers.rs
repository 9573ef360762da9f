//! Poppers that die, at every stage of their answer and by every way to die: the message comes back exactly once, in its
//! place, marked as redelivered; and what was read to its end is gone (design section 6).

use std::time::Duration;

use crate::harness::{
    Node, Raw,
    h2::{DATA, H2, HEADERS},
    until,
};

const OK: &str = "E0000000000";

/// What the three messages of a round are.
const ROW: [&str; 3] = ["one", "two", "three"];

fn pop(topic: &str) -> String {
    format!(
        "GET /v1/interconn/chan/pop?topic={topic}&timeout=20000 HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\n\r\n"
    )
}

async fn push_row(node: &Node, topic: &str, row: [&str; 3]) {
    for text in row {
        assert_eq!(node.push(None, topic, text).await, OK);
    }
}

/// Once it is settled: the first `again` of the row come in their places, marked, then the others; and then nothing.
async fn comes_back(node: &Node, topic: &str, when: &str, row: [&str; 3], again: usize) {
    until(when, Duration::from_secs(10), async || node.leased().await == 0.0).await;
    let mut raw = Raw::to(node).await;
    for (n, text) in row.into_iter().enumerate() {
        raw.write(pop(topic)).await;
        let heard = raw.answer().await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
        assert!(said["payload"] == crate::harness::base64(text), "{when}: not number {n}");
        assert_eq!(heard.header("x-ptp-redelivered").is_some(), n < again, "{when}: number {n}");
    }
    assert_eq!(node.pop_now(topic).await, None, "{when}: once is enough");
}

/// How a client dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// As a process that is killed: its kernel closes, with a reset if bytes are unread.
    Killed,
    /// With a reset in any case.
    Reset,
}

fn die(raw: Raw, death: Death) {
    match death {
        Death::Killed => drop(raw),
        Death::Reset => raw.reset(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popper_that_dies_after_any_byte_of_its_answer_gives_the_message_back() {
    let node = Node::start().await;
    let length = {
        push_row(&node, "measure", ROW).await;
        let mut raw = Raw::to(&node).await;
        raw.write(pop("measure")).await;
        let heard = raw.answer().await.unwrap();
        heard.head.len() + heard.body.len()
    };
    for death in [Death::Killed, Death::Reset] {
        // After the last byte only a reset says that it died before it could use the answer.
        let stages = if matches!(death, Death::Reset) { length + 1 } else { length };
        for read in (0..stages).filter(|read| read % 7 == 0 || *read + 3 >= length) {
            let (topic, when) = (format!("{death:?}-{read}"), format!("{death:?} after {read} of {length} bytes"));
            push_row(&node, &topic, ROW).await;
            let mut raw = Raw::to(&node).await;
            raw.write(pop(&topic)).await;
            raw.tcp.readable().await.unwrap();
            raw.read_only(read).await;
            die(raw, death);
            comes_back(&node, &topic, &when, ROW, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popper_that_sent_its_next_request_before_it_read_gives_both_messages_back() {
    let node = Node::start().await;
    for (n, death) in [Death::Killed, Death::Reset].into_iter().enumerate() {
        let (topic, when) = (format!("{death:?}"), format!("{death:?} with two answers unread"));
        push_row(&node, &topic, ROW).await;
        let mut raw = Raw::to(&node).await;
        raw.write(pop(&topic).repeat(2)).await;
        let popped = (5 * n + 2) as f64;
        until("both to be popped", Duration::from_secs(60), async || {
            node.metric("mesh_transport_pops_total").await == popped
        })
        .await;
        // The answers are on their way; nothing says so but the bytes that nobody reads.
        tokio::time::sleep(Duration::from_millis(100)).await;
        die(raw, death);
        comes_back(&node, &topic, &when, ROW, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popper_that_read_everything_and_went_in_order_keeps_the_message() {
    let node = Node::start().await;
    push_row(&node, "t", ROW).await;
    let mut raw = Raw::to(&node).await;
    raw.write(pop("t")).await;
    raw.answer().await.unwrap();
    drop(raw);
    until("the lease commits", Duration::from_secs(60), async || {
        node.metric("mesh_transport_lease_commits_total").await == 1.0
    })
    .await;
    assert_eq!(node.pop_now("t").await.as_deref(), Some(ROW[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popper_that_dies_while_it_waits_takes_nothing_with_it() {
    let node = Node::start().await;
    for (n, death) in [Death::Killed, Death::Reset].into_iter().enumerate() {
        let topic = format!("t{n}");
        let mut raw = Raw::to(&node).await;
        raw.write(pop(&topic)).await;
        until("it waits", Duration::from_secs(60), async || node.metric("mesh_transport_waiting_pops").await == 1.0)
            .await;
        die(raw, death);
        until("it waits no more", Duration::from_secs(60), async || {
            node.metric("mesh_transport_waiting_pops").await == 0.0
        })
        .await;
        assert_eq!(node.push(None, &topic, "x").await, OK);
        assert_eq!(node.pop_now(&topic).await.as_deref(), Some("x"));
    }
}

const GRPC: [(&str, &str); 3] = [("content-type", "application/grpc"), ("te", "trailers"), ("x-ptp-session-id", "s")];

/// A pop over HTTP/2, by the paths and bodies of both fronts.
async fn ask(h2: &mut H2, stream: u32, topic: &str, grpc: bool) {
    if grpc {
        let message = [&[10, u8::try_from(topic.len()).unwrap()][..], topic.as_bytes()].concat();
        let length = u8::try_from(message.len()).unwrap();
        let body = [&[0, 0, 0, 0, length][..], &message].concat();
        assert!(h2.ask(stream, "/org.ppc.ptp.PrivateTransferTransport/pop", &GRPC, &body).await);
    } else {
        let path = format!("/v1/interconn/chan/pop?topic={topic}");
        assert!(h2.ask(stream, &path, &[("x-ptp-session-id", "s")], b"").await);
    }
}

/// More than waits for a slow reader on a stream (1 MiB), so that the node still has some of it when the call is cancelled.
const LONG: usize = 3 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_stream_gives_the_message_back_at_every_stage_of_its_answer() {
    let node = Node::start().await;
    let long = "x".repeat(LONG);
    for grpc in [false, true] {
        for stage in ["before the head", "after the head", "in the middle", "by the connection's reset"] {
            let (topic, when) = (format!("{grpc}-{stage}").replace([' ', '\''], "-"), format!("gRPC {grpc}, {stage}"));
            // In a window of five bytes no answer fits.
            let mut h2 = H2::to(&node, 5).await;
            if stage == "before the head" {
                ask(&mut h2, 1, &topic, grpc).await;
                waiting(&node, 1.0).await;
                h2.cancel(1).await;
                waiting(&node, 0.0).await;
                assert_eq!(node.push(None, &topic, "x").await, OK);
                assert_eq!(node.pop_now(&topic).await.as_deref(), Some("x"), "{when}");
                continue;
            }
            let row = [long.as_str(), ROW[1], ROW[2]];
            push_row(&node, &topic, row).await;
            ask(&mut h2, 1, &topic, grpc).await;
            h2.wait_for(HEADERS, 1).await.unwrap();
            if stage == "in the middle" {
                h2.wait_for(DATA, 1).await.unwrap();
            }
            if stage == "by the connection's reset" {
                socket2::SockRef::from(&h2.tcp).set_linger(Some(Duration::ZERO)).unwrap();
                drop(h2);
            } else {
                h2.cancel(1).await;
            }
            comes_back(&node, &topic, &when, row, 1).await;
        }
    }
}

async fn waiting(node: &Node, pops: f64) {
    let so_many = async || node.metric("mesh_transport_waiting_pops").await == pops;
    until("so many pops to wait", Duration::from_secs(60), so_many).await;
}

/// Far more often than it takes to meet the moment between the push's look at the waiters and the end's arrival.
const RACES: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_popper_that_leaves_at_the_moment_of_a_push_loses_nothing() {
    let node = Node::start().await;
    let mut pusher = Raw::to(&node).await;
    for round in 0..RACES {
        let (topic, text) = (format!("t{round}"), format!("x{round}"));
        let mut raw = Raw::to(&node).await;
        raw.write(pop(&topic)).await;
        // Most have begun to wait by then; those that have not lose nothing either.
        tokio::time::sleep(Duration::from_micros(500 + 37 * (round % 20))).await;
        let payload = crate::harness::base64(&text).replace('=', "%3D");
        let push = format!(
            "POST /v1/interconn/chan/push?topic={topic}&payload={payload} HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\ncontent-length: 0\r\n\r\n"
        );
        let leaves = tokio::task::spawn_blocking(move || {
            (0..round % 50 * 100).for_each(|_| std::hint::spin_loop());
            die(raw, if round % 4 == 3 { Death::Reset } else { Death::Killed });
        });
        pusher.write(push).await;
        assert_eq!(pusher.answer().await.unwrap().code().as_deref(), Some(OK));
        leaves.await.unwrap();
        let mut found = None;
        until(&format!("round {round}: the message is lost"), Duration::from_secs(10), async || {
            found = node.pop_now(&topic).await;
            found.is_some()
        })
        .await;
        assert_eq!((found, node.pop_now(&topic).await), (Some(text), None), "round {round}");
    }
}
