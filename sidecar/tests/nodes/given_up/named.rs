//! Pops of a partner's node of our kind, which settles what it holds by name: once the answer was written whole, the end of its
//! connection says nothing, and one that breaks in the middle of the answer gives the message back at once.

use super::*;

/// How the partner's node is connected: straight, or by something in between that speaks HTTP/1.1 only.
#[derive(Clone, Copy, Debug)]
enum Line {
    Http1,
    Http2(Way),
}

const LINES: [Line; 3] = [Line::Http1, Line::Http2(Way::TlsHttp), Line::Http2(Way::TlsGrpc)];

/// More than sockets hold, so that the node still has some of it.
const LONG: usize = 32 << 20;

/// Pops, reads the answer to its end or no more than its beginning, and resets the connection.
async fn pops_and_resets(stage: &Stage, line: Line, topic: &str, name: &str, reads_all: bool) {
    let pair = Client::Pair(&stage.partner.leaf);
    match line {
        Line::Http1 => {
            let mut client = tls(stage.node.data, pair, &["http/1.1"]).await;
            let lease = format!("\r\nx-ptp-lease: {name}\r\n\r\n");
            client.write_all(wrapped_pop(topic).replacen("\r\n\r\n", &lease, 1).as_bytes()).await.unwrap();
            if reads_all {
                whole_answer(&mut client).await;
            } else {
                client.read_exact(&mut [0; 100]).await.unwrap();
            }
            SockRef::from(client.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        Line::Http2(way) => {
            let mut client = stage.client(way, if reads_all { WIDE } else { 5 }, true).await;
            ask_with(&mut client, way, 1, topic, &[("x-ptp-lease", name)]).await;
            if reads_all {
                end_of(&mut client, 1).await;
            } else {
                client.wait_for(DATA, 1).await.unwrap();
            }
        }
    }
}

async fn settled(stage: &Stage, name: &str, action: &str) -> String {
    let body = json!({"id": name, "action": action}).to_string();
    let request = post("/v1/interconn/chan/lease", &[], body);
    over_tls(stage.node.data, Client::Pair(&stage.partner.leaf), request).await.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_behind_the_whole_answer_leaves_the_message_to_who_holds_it_by_name() {
    let stage = Stage::set().await;
    for (n, line) in LINES.into_iter().enumerate() {
        for (action, next) in [("commit", "three"), ("return", "one")] {
            let (topic, name) = (format!("{n}-{action}"), format!("{n}{action}"));
            stage.push_row(&topic).await;
            pops_and_resets(&stage, line, &topic, &name, true).await;
            // By a connection that comes after the end of the first.
            assert_eq!(settled(&stage, &name, "renew").await, OK, "{line:?}: it is still held");
            assert_eq!(stage.node.pop_now(&topic).await.as_deref(), Some("two"), "{line:?}: nobody else gets it");
            assert_eq!(settled(&stage, &name, action).await, OK, "{line:?}");
            assert_eq!(stage.node.pop_now(&topic).await.as_deref(), Some(next), "{line:?}, {action}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_the_answer_gives_back_at_once_what_is_held_by_name() {
    let stage = Stage::set().await;
    let long = "x".repeat(LONG);
    for (n, line) in LINES.into_iter().enumerate() {
        let topic = n.to_string();
        assert_eq!(stage.node.push(None, &topic, &long).await, OK);
        pops_and_resets(&stage, line, &topic, &format!("middle{n}"), false).await;
        // Sooner than after the 15 s of silence that a holder has.
        until("it to come back", Duration::from_secs(10), async || stage.node.leased().await == 0.0).await;
        assert_eq!(settled(&stage, &format!("middle{n}"), "commit").await, "E0000000404", "{line:?}");
        assert!(stage.node.pop(&topic).await.is_some_and(|text| text == long), "{line:?}");
    }
}
