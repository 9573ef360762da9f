//! The list of sessions and queues: every queue once, in pages of any size, and no payload.

use std::collections::BTreeSet;

use mesh_core::{SessionId, Topic};
use mesh_transport::{Draft, Key, Origin, Reader};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::node::{A, Node};

fn key(session: &str, topic: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new(topic) }
}

async fn push(node: &Node, key: &Key) {
    let draft = Draft { payload: "x".into(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(key, draft, None, Instant::now()).await.unwrap();
}

#[tokio::test]
async fn pages_of_any_size_show_every_queue_once() {
    let node = Node::new(A, &[], &json!({}));
    let mut all = BTreeSet::new();
    for (session, queues) in [("", 1), ("few", 3), ("many", 100)] {
        for n in 0..queues {
            let topic = if n == 0 { String::new() } else { format!("t{n}") };
            push(&node, &key(session, &topic)).await;
            all.insert((session.to_owned(), topic));
        }
    }
    drop(node.channels.pop(&key("none", "t"), &Reader::application(), Instant::now()).await.unwrap());
    for most in [1, 2, 7, 1000] {
        let (mut seen, mut sessions, mut after) = (Vec::new(), BTreeSet::new(), None);
        loop {
            let page = node.channels.list(None, after.as_ref(), most);
            for row in page.sessions {
                sessions.insert(row.session.to_string());
                seen.extend(row.queues.into_iter().map(|queue| (row.session.to_string(), queue.topic.to_string())));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), &seen.into_iter().collect::<BTreeSet<_>>()), (all.len(), &all), "{most}");
        assert!(sessions.contains("none"), "a session without queues is shown too");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_says_what_is_there_who_waits_and_how_old_it_is() {
    let node = Node::new(A, &[], &json!({}));
    let (used, waits_at, reader) = (key("s", "t"), key("s", "u"), Reader::application());
    for _ in 0..3 {
        push(&node, &used).await;
    }
    let leased = node.channels.pop(&used, &reader, Instant::now()).await.unwrap();
    let mut waiting = Box::pin(node.channels.pop(&waits_at, &reader, Instant::now() + Duration::from_secs(60)));
    assert!(futures::poll!(&mut waiting).is_pending());
    tokio::time::advance(Duration::from_secs(7)).await;
    let page = node.channels.list(Some(&used.session), None, 100);
    let [row] = &page.sessions[..] else { panic!("{page:?}") };
    assert_eq!((row.messages, row.bytes, row.leased, row.waiters, row.unused.as_secs()), (3, 768, 1, 1, 7));
    let numbers: Vec<_> =
        row.queues.iter().map(|q| (q.topic.as_str(), q.depth, q.leased, q.bytes, q.waiters, q.oldest)).collect();
    let seven = Some(Duration::from_secs(7));
    assert!(numbers.contains(&("t", 2, 1, 768, 0, seven)) && numbers.contains(&("u", 0, 0, 0, 1, None)), "{numbers:?}");
    drop(leased);
}
