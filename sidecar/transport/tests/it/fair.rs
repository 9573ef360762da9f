//! Room that comes free is given in turns: between sessions, and between partners, whatever number of calls each has.

use std::{pin::Pin, time::Duration};

use mesh_core::{SessionId, Topic};
use mesh_transport::{Draft, Key, Origin, Reader, TransportError};
use serde_json::json;
use tokio::time::Instant;

use crate::node::{A, B, C, Node};

type Pushing<'a> = Pin<Box<dyn Future<Output = Result<(), TransportError>> + 'a>>;

/// Room for one message at a time.
fn node() -> Node {
    let settings = json!({"sessionBytes": "1000", "totalBytes": "1000", "maxBodyBytes": "1000"});
    let route = |partner| json!({"peer": {"nodeId": partner}, "maxQueuedBytes": "1000"});
    Node::with_routes(A, &[route(B), route(C)], &settings)
}

fn key(session: &str) -> Key {
    Key { session: SessionId::new(session), topic: Topic::new("t") }
}

/// A push that fills the node; the first poll puts it in line.
async fn pushing<'a>(node: &'a Node, session: &str, partner: Option<&str>) -> Pushing<'a> {
    let (key, route) = (key(session), partner.map(|partner| node.route(partner)));
    let origin = route.as_ref().map_or(Origin::Application, |route| Origin::Partner(route.node_id.clone()));
    let draft = Draft { payload: vec![7; 900].into(), metadata: None, source: None, origin, id: None };
    let until = Instant::now() + Duration::from_secs(60);
    let mut push: Pushing<'_> = Box::pin(async move { node.channels.push(&key, draft, route.as_deref(), until).await });
    assert!(futures::poll!(&mut push).is_pending());
    push
}

/// Who gets in, one after the other, as room comes free for one at a time.
async fn order(node: &Node, first: &str, mut waiting: Vec<(&str, Pushing<'_>)>) -> Vec<String> {
    let (mut order, mut inside) = (Vec::new(), first.to_owned());
    while !waiting.is_empty() {
        let popped = node.channels.pop(&key(&inside), &Reader::application(), Instant::now()).await.unwrap().unwrap();
        popped.lease.unwrap().commit();
        let mut entered = Vec::new();
        for (at, (_, push)) in waiting.iter_mut().enumerate() {
            if futures::poll!(push).is_ready() {
                entered.push(at);
            }
        }
        let [at] = entered[..] else { panic!("{entered:?} entered at once") };
        inside = waiting.remove(at).0.to_owned();
        order.push(inside.clone());
    }
    order
}

async fn fill(node: &Node) {
    let draft =
        Draft { payload: vec![7; 900].into(), metadata: None, source: None, origin: Origin::Application, id: None };
    node.channels.push(&key("first"), draft, None, Instant::now()).await.unwrap();
}

#[tokio::test]
async fn a_session_with_many_waiting_pushes_gives_way_to_one_with_one() {
    let node = node();
    fill(&node).await;
    let mut waiting = Vec::new();
    for session in ["many", "many", "many", "many", "one", "other"] {
        waiting.push((session, pushing(&node, session, None).await));
    }
    assert_eq!(order(&node, "first", waiting).await, ["many", "one", "other", "many", "many", "many"]);
}

#[tokio::test]
async fn a_partner_with_many_sessions_has_turns_as_one() {
    let node = node();
    fill(&node).await;
    let mut waiting = Vec::new();
    for (session, partner) in [("b1", Some(B)), ("b2", Some(B)), ("b3", Some(B)), ("c", Some(C)), ("own", None)] {
        waiting.push((session, pushing(&node, session, partner).await));
    }
    let order = order(&node, "first", waiting).await;
    let place = |name: &str| order.iter().position(|known| known == name).unwrap();
    assert!(place("c") <= 2 && place("own") <= 2, "{order:?}");
}
