//! One client's task, step by step.

#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{EPOCH_MS, Mint, NodeNumber, clients::Opened, rules::Rules};

/// A task's waker that counts.
#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client's task, and the other end of its socket.
async fn link(listener: Value) -> (Link, TcpStream) {
    let mut mint = Mint::new(NodeNumber::default(), EPOCH_MS + 1);
    mint.reserve(EPOCH_MS + 1000);
    let grid = Arc::new(Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1));
    let mut all = json!({"name": "x"});
    all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    let rules = Arc::new(Rules::compile(&serde_json::from_value(all).unwrap()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let user = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let (tcp, remote) = socket.accept().await.unwrap();
    let id = grid.issue_id(EPOCH_MS + 1).await.unwrap();
    let context = crate::context::Context::default();
    let client = Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context });
    grid.clients.open(&client);
    let greeted =
        Greeted { uri: "/", path: "/", subprotocol: "", headers: &[], more: &[], expires: None, bearer: None };
    (Link::new(grid, client, Stream::Plain(tcp), greeted), user)
}

#[tokio::test]
async fn what_changes_while_it_is_looked_at_wakes_the_task() {
    let (mut link, _user) = link(json!({})).await;
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut cx = Context::from_waker(&waker);
    link.client.set_paused(true);
    assert!(link.poll(&mut cx).is_pending());
    // A message takes the waker along; the task is polled for it, sees that it is paused, and then it is not any more.
    link.grid.clients.send(link.client.id, Opcode::Text, b"x").unwrap();
    link.poll_inward(&mut cx);
    let before = woken.0.load(Ordering::SeqCst);
    link.client.set_paused(false);
    assert_eq!(woken.0.load(Ordering::SeqCst), before + 1);
}
